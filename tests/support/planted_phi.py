"""One file of each format, and of each encoding, that holds a text."""

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import pickle
import quopri
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import feather
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dsnet import schemas
from dsnet.config.output import PhiCheck
from dsnet.files import write_json
from dsnet.phi.step import Summary, check
from dsnet.private import PrivateCohort, open_private
from dsnet.results import Results, Source

Write = Callable[[Path, str], None]


def make_project(folder: Path, values: list[tuple[str, str, str, str]]) -> PrivateCohort:
    """Make results of a cohort without files, whose private side holds `values`."""
    own = open_private(folder / "private", "0" * 16, create=True)
    identities = pd.DataFrame({name: [] for name in schemas.MAP.columns}, dtype=str)
    schemas.write(schemas.MAP, identities, own.map_path)
    frame = pd.DataFrame(values, columns=list(schemas.IDENTIFYING.columns))
    schemas.write(schemas.IDENTIFYING, frame, own.identifying_path)
    source = Source(
        cohort_id=own.cohort_id,
        key=own.fingerprint,
        name="made",
        note="",
        synthetic=True,
        phantom_seed=None,
        files=1,
        bytes=1,
        readable=1,
        decoded=1,
        unexpected=0,
        not_searched={},
        index_sha256="0" * 64,
    )
    write_json(folder / "owner" / "cohort" / "source.json", source.to_json())
    (folder / "results").mkdir()
    return own


def search(folder: Path, *more: Path, processes: int = 1) -> Summary:
    """Search ``results`` of a project, whose report is ``results/phi_check.json``."""
    return check(
        [folder / "results", *more],
        PhiCheck(processes=processes),
        Results(folder / "owner"),
        private=folder / "private",
        report=folder / "results" / "phi_check.json",
    )


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
    dataset.SpecificCharacterSet = "ISO_IR 192"
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


def _long_sequence(text: str) -> bytes:
    """Return a file whose sequence has a defined length of more than 64 KiB."""
    items = []
    for number in range(1200):
        item = Dataset()
        item.CodeValue, item.CodeMeaning = str(number), "of a long list of codes" + " " * 30
        items.append(item)
    items[-1].CodeMeaning = text
    return dicom(PerformedProtocolCodeSequence=Sequence(items))


def _sheet(text: str) -> bytes:
    """Return a spreadsheet's archive with the text among its shared strings (OOXML)."""
    strings = f"<sst><si><t>row</t></si><si><t>{html.escape(text)}</t></si></sst>"
    return _zip("xl/sharedStrings.xml", strings.encode())


def _compressed_by(codec: str) -> Callable[[str], bytes]:
    def write(text: str) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(f"read {text}\n".encode())
        return sink.getvalue().to_pybytes()

    return write


def _code_units(text: str) -> bytes:
    """Return an array of soft tissue in which a row spells the text."""
    hu = np.full((64, 64), 40, "<i2")
    hu[30, 8 : 8 + len(text)] = [ord(letter) for letter in text]
    return _array(hu)


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
    "feather.arrow": lambda path, text: feather.write_feather(_frame(text), path, "lz4"),
    "sequence.dcm": _bytes(_long_sequence),
    "book.xlsx": _bytes(_sheet),
    "notes.zst": _bytes(_compressed_by("zstd")),
    "notes.lz4": _bytes(_compressed_by("lz4")),
    "stream.h5": _bytes(lambda text: bytes(512) + zlib.compress(text.encode()) + bytes(9)),
    "raw16little.bin": _bytes(lambda text: bytes(98) + text.encode("utf-16-le") + b"\1A" * 9),
}
"""What writes a file that holds a text, by the file's name."""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _in_log(encode: Callable[[bytes], str]) -> Write:
    """Return what writes a line of a log that holds the encoded text."""
    return _bytes(lambda text: f"note: {encode(text.encode())} end\n".encode())


def _mail(text: str) -> bytes:
    words = " ".join(f"word{number}" for number in range(40))
    return base64.encodebytes(f"{words} {text} {words}".encode())


def _with_escapes(content: bytes) -> str:
    return "".join(chr(byte) if 31 < byte < 127 else f"\\x{byte:02x}" for byte in content)


ENCODERS: dict[str, Write] = {
    "base64.log": _in_log(_base64),
    "urlsafe.log": _in_log(lambda content: base64.urlsafe_b64encode(content).decode().rstrip("=")),
    "base64.csv": _bytes(lambda text: f"row,note\n1,{_base64(text.encode())}\n".encode()),
    "base64.json": _bytes(lambda text: json.dumps({"note": _base64(text.encode())}).encode()),
    "base64.parquet": lambda path, text: _frame(_base64(text.encode())).to_parquet(path),
    "base64.html": _bytes(lambda text: f"<p>{_base64(text.encode())}</p>".encode()),
    "base64.pkl": _bytes(lambda text: pickle.dumps({"who": _base64(text.encode())})),
    "base64.dcm": _bytes(lambda text: dicom(ImageComments=_base64(text.encode()))),
    "base64.bin": _bytes(lambda text: bytes(40) + _base64(text.encode()).encode() + bytes(9)),
    "twice.log": _in_log(lambda content: _base64(_base64(content).encode())),
    "prefixed.log": _in_log(lambda content: f"cache/{_base64(content)}"),
    "mail.eml": _bytes(_mail),
    "hex.log": _in_log(bytes.hex),
    "upper_hex.log": _in_log(lambda content: content.hex().upper()),
    "marked_hex.log": _in_log(lambda content: f"0x{content.hex()}"),
    "spaced_hex.log": _in_log(lambda content: content.hex(" ")),
    "colon_hex.json": _bytes(lambda text: json.dumps({"note": text.encode().hex(":")}).encode()),
    "hex.parquet": lambda path, text: _frame(text.encode().hex()).to_parquet(path),
    "listed_hex.py": _in_log(lambda content: ", ".join(f"0x{byte:02x}" for byte in content)),
    "zlib_base64.log": _in_log(lambda content: _base64(zlib.compress(content))),
    "gzip_base64.json": _bytes(
        lambda text: json.dumps({"note": _base64(gzip.compress(text.encode()))}).encode()
    ),
    "zlib_hex.csv": _bytes(lambda text: f"a,b\n1,{zlib.compress(text.encode()).hex()}\n".encode()),
    "zlib.parquet": lambda path, text: pq.write_table(
        pa.table({"note": [zlib.compress(text.encode())]}), path
    ),
    "zlib.sqlite": lambda path, text: _blob(path, zlib.compress(text.encode())),
    "zlib.pkl": _bytes(lambda text: pickle.dumps([zlib.compress(text.encode())])),
    "zlib.npy": _bytes(lambda text: _array(np.frombuffer(zlib.compress(text.encode()), "u1"))),
    "gzip.bin": _bytes(lambda text: bytes(99) + gzip.compress(text.encode()) + bytes(7)),
    "percent.html": _bytes(lambda text: f'<a href="?q={quote(text)}">'.encode()),
    "entities.html": _bytes(lambda text: "".join(f"&#{ord(letter)};" for letter in text).encode()),
    "unicode.json": _bytes(lambda text: json.dumps({"note": f"of {text}"}).encode()),
    "unicode.log": _in_log(lambda content: json.dumps(content.decode())),
    "escapes.log": _in_log(_with_escapes),
    "quoted.eml": _in_log(lambda content: quopri.encodestring(content, header=True).decode()),
}
"""What writes a file that holds an encoded text, by the file's name."""


def _blob(path: Path, content: bytes) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (note BLOB)")
        connection.execute("INSERT INTO runs VALUES (?)", (content,))


CHARSETS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
"""Encodings that hold every text."""


def in_charset(charset: str, text: str) -> dict[str, bytes]:
    """Return a text file and a binary file in which `text` stands in an encoding, by name."""
    line = f"2026-01-05 read {text}, done\n"
    return {
        f"{charset}.txt": line.encode(charset),
        f"{charset}.bin": bytes(range(64)) * 2 + f" {text} ".encode(charset) + bytes(8),
    }
