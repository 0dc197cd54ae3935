"""A made-up patient's values, and one file of each format that holds a text."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

Write = Callable[[Path, str], None]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(kind: bytes, body: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(kind, body) + data + _chunk(b"IEND", b"")


def _compressed_text(text: str) -> bytes:
    return b"Comment\0\0" + zlib.compress(text.encode("latin-1"))


def _international_text(text: str) -> bytes:
    return b"Comment\0\1\0\0\0" + zlib.compress(text.encode())


def _array(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _zip(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("notes")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def dicom(**elements: object) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _nested(text: str) -> bytes:
    inner, outer = Dataset(), Dataset()
    inner.CodeMeaning = text
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    return dicom(ContributingEquipmentSequence=Sequence([outer]))


def _private(text: str) -> bytes:
    dataset = Dataset()
    item = Dataset()
    block = item.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "UN", text.encode())
    dataset.ReferencedSeriesSequence = Sequence([item])
    return dicom(ReferencedSeriesSequence=dataset.ReferencedSeriesSequence)


def _sqlite(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (note TEXT)")
        connection.execute("INSERT INTO runs VALUES (?)", (f"run of {text}",))


def _parquet_metadata(path: Path, text: str) -> None:
    table = pa.table({"row": [1, 2]}).replace_schema_metadata({"note": f"made for {text}"})
    pq.write_table(table, path)


def _parquet_nested(path: Path, text: str) -> None:
    pq.write_table(pa.table({"people": [[{"who": text}], []]}), path, compression="zstd")


def _frame(text: str) -> pd.DataFrame:
    return pd.DataFrame({"row": [1, 2], "note": ["", text]})


def _checkpoint(path: Path, text: str) -> None:
    torch.save({"weights": torch.zeros(3), "note": {"who": text}}, path)


def _bytes(make: Callable[[str], bytes]) -> Write:
    return lambda path, text: path.write_bytes(make(text)) and None


def _pdf(text: str) -> bytes:
    return b"%PDF-1.7\nstream\n" + zlib.compress(f"({text}) Tj".encode()) + b"\nendstream\n"


def _svg_with_image(text: str) -> bytes:
    image = base64.b64encode(png(b"tEXt", b"Title\0" + text.encode())).decode()
    return f'<svg><image href="data:image/png;base64,{image}"/></svg>'.encode()


WRITERS: dict[str, Write] = {
    "log.txt": _bytes(lambda text: f"2026-01-05 read {text}, done\n".encode()),
    "utf16.txt": _bytes(lambda text: f"read {text}".encode("utf-16")),
    "latin1.txt": _bytes(lambda text: f"gr\xf6\xdfe {text}".encode("latin-1")),
    "page.html": _bytes(lambda text: f"<td>{text.replace('a', '&#97;')}</td>".encode()),
    "link.html": _bytes(lambda text: f'<a href="x%2F{text.replace("^", "%5E")}">'.encode()),
    "plot.svg": _bytes(_svg_with_image),
    "table.csv": _bytes(lambda text: f"row;note\n1;{text}\n2;\n".encode()),
    "facts.json": _bytes(lambda text: json.dumps({"a": [{"b": text}]}).encode()),
    "key.json": _bytes(lambda text: json.dumps({text: 1}).encode()),
    "cells.parquet": lambda path, text: _frame(text).to_parquet(path),
    "metadata.parquet": _parquet_metadata,
    "nested.parquet": _parquet_nested,
    "plain.dcm": _bytes(lambda text: dicom(StudyDescription=f"CT of {text}")),
    "nested.dcm": _bytes(_nested),
    "private.dcm": _bytes(_private),
    "text.png": _bytes(lambda text: png(b"tEXt", b"Title\0" + text.encode())),
    "packed.png": _bytes(lambda text: png(b"zTXt", _compressed_text(text))),
    "international.png": _bytes(lambda text: png(b"iTXt", _international_text(text))),
    "text.npy": _bytes(lambda text: _array(np.array(["", text]))),
    "fields.npy": _bytes(lambda text: _array(np.array([(1, text)], "i4, U40"))),
    "objects.npy": _bytes(lambda text: _array(np.array([{"who": text}], object))),
    "arrays.npz": lambda path, text: np.savez_compressed(path, row=[1], note=np.array([text])),
    "archive.zip": _bytes(lambda text: _zip("inner.zip", _zip("a.txt", text.encode()))),
    "name.zip": _bytes(lambda text: _zip(f"{text}.txt", b"")),
    "notes.tar.gz": _bytes(lambda text: _tar(text.encode())),
    "notes.gz": _bytes(lambda text: gzip.compress(text.encode())),
    "notes.bz2": _bytes(lambda text: bz2.compress(text.encode())),
    "notes.xz": _bytes(lambda text: lzma.compress(text.encode())),
    "weights.pt": _checkpoint,
    "state.pkl": _bytes(lambda text: pickle.dumps({"who": text})),
    "runs.sqlite": _sqlite,
    "figure.pdf": _bytes(_pdf),
    "raw.bin": _bytes(lambda text: bytes(range(256)) + text.encode() + b"\0\1"),
    "raw16.bin": _bytes(lambda text: bytes(99) + text.encode("utf-16-be") + bytes(9)),
    "raw16little.bin": _bytes(lambda text: bytes(98) + text.encode("utf-16-le") + b"\1A" * 9),
}
"""What writes a file that holds a text, by the file's name."""
