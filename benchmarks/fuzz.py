"""Damaged DICOM files in, one row each out: a mutation fuzz of ingestion.

``python benchmarks/fuzz.py --mutants 10000`` writes small CT files in all transfer syntaxes that
can be encoded here, damages each of them in a few places, ingests them all, and prints what became
of them. Equal seeds make equal files. Exit status 1 if a file has no row, if the step fails, or if
a file has content that the program did not foresee.
"""

import argparse
import io
import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    ParametricMapStorage,
    RLELossless,
)

from dsnet.config.cohort import Ingest
from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.reader import Facts, Limits
from dsnet.ingest import workers
from dsnet.ingest.step import ingest

SIZE_PX = 32
FOLDERS = 97
"""The mutants lie in that many folders, as patients do."""

VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    b"US UT UV XX ZZ"
).split()
LENGTHS = (0, 1, 2, 3, 0x7F, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
NUMBERS = (0, 1, 2, 8, 12, 16, 32, 64, 255, 4096, 32767, 65535)

Mutation = Callable[[random.Random, bytearray], None]


def main() -> None:
    """Make, ingest, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=0, help="0: all CPUs, at most 8")
    parser.add_argument("--seconds", type=float, default=20, help="most for one file")
    parser.add_argument("--json", type=Path, help="where to write the figures, too")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsnet-fuzz-") as temporary:
        folder = arguments.keep or Path(temporary)
        write_mutants(folder / "cohort" / "dicom", arguments.mutants, arguments.seed)
        figures = run(folder, arguments.processes, arguments.seconds)
    for name, value in figures.items():
        print(f"{name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    sys.exit(figures["rows"] != figures["files"] or bool(figures["unexpected"]))


def run(folder: Path, processes: int, seconds: float) -> dict[str, object]:
    """Ingest ``cohort`` below `folder` and return the figures."""
    (folder / "times").mkdir(exist_ok=True)
    workers.read_all.__defaults__ = (0, timed_read)
    index = folder / "results" / "cohort" / "index.parquet"
    begin = time.perf_counter()
    ingest(
        ingest=Ingest(processes=processes, max_seconds=seconds, max_unexpected=1),
        cohort=folder / "cohort",
        private=folder / "private",
        index=index,
        source=index.with_name("source.json"),
    )
    took_s = time.perf_counter() - begin
    rows = pd.read_parquet(index)
    times = [line.split("\t") for path in (folder / "times").iterdir() for line in path.open()]
    unexpected = rows[rows["fault"] == "unexpected_content"]
    died = rows[(rows["fault_class"] != "") & (rows["fault"] != "unexpected_content")]
    return {
        "files": sum(path.is_file() for path in (folder / "cohort" / "dicom").rglob("*")),
        "rows": len(rows),
        "faults": rows["fault"].replace("", "none").value_counts().to_dict(),
        "unexpected": {
            f"{name} in {frame}": count
            for (name, frame), count in unexpected.value_counts(
                ["fault_class", "fault_frame"]
            ).items()
        },
        "processes lost": died["fault_class"].value_counts().to_dict(),
        "longest file, s": max(float(line[0]) for line in times),
        "longest file": max(times, key=lambda line: float(line[0]))[2].strip(),
        "largest process, MB": max(int(line[1]) for line in times) // 1024,
        "seconds": round(took_s, 1),
    }


def timed_read(path: str, thresholds: Thresholds, limits: Limits, *, decode: bool) -> Facts:
    """Read a file and note how long it took, and how much memory its process has ever held."""
    begin = time.perf_counter()
    facts = reader.read(path, thresholds, limits, decode=decode)
    took_s = time.perf_counter() - begin
    largest_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folder = next(parent for parent in Path(path).parents if parent.name == "cohort").parent
    with (folder / "times" / str(os.getpid())).open("a") as stream:
        stream.write(f"{took_s:.3f}\t{largest_kb}\t{Path(path).name}\n")
    return facts


def write_mutants(folder: Path, count: int, seed: int) -> None:
    """Write `count` damaged files into `folder`; each depends on the seed and its number alone."""
    originals = made_files()
    names = sorted(originals)
    for number in range(FOLDERS):
        (folder / f"{number:02d}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
        name = names[number % len(names)]
        content = bytearray(originals[name])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            if content:
                chance.choice(MUTATIONS)(chance, content)
        path = folder / f"{number % FOLDERS:02d}" / f"{name}_{number:06d}"
        path.write_bytes(content)


def made_files() -> dict[str, bytes]:
    """Return whole files by name: transfer syntaxes, and objects that are no plain slice."""
    files = {
        "explicit": written(ct_slice()),
        "implicit": written(ct_slice(), ImplicitVRLittleEndian),
        "big_endian": written(ct_slice(swapped=True), ExplicitVRBigEndian),
        "deflated": written(ct_slice(), DeflatedExplicitVRLittleEndian),
        "sequences": written(with_sequences(ct_slice(), undefined=False)),
        "undefined": written(with_sequences(ct_slice(), undefined=True)),
        "undefined_implicit": written(
            with_sequences(ct_slice(), undefined=True), ImplicitVRLittleEndian
        ),
        "colour": written(colour()),
        "half_colour": written(colour("YBR_FULL_422")),
        "frames": written(frames()),
        "no_preamble": written(ct_slice())[132:],
        "float_map": written(float_map()),
        "wide": written(wide()),
        "report": written(report()),
    }
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        if get_encoder(syntax).is_available:
            compressed = with_sequences(ct_slice(), undefined=False)
            compressed.compress(syntax)
            files[f"compressed{syntax[-2:].replace('.', '')}"] = written(compressed, syntax)
    return files


def ct_slice(*, swapped: bool = False) -> Dataset:
    """Return a small CT slice with a header as scanners write it."""
    generator = np.random.default_rng(7)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.826.0.1.3680043.8.498.7"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240102"
    dataset.Modality, dataset.Manufacturer = "CT", "SIEMENS"
    dataset.InstitutionName, dataset.PatientName = "Brannock", "Thornabee^Greta"
    dataset.PatientID, dataset.PatientBirthDate = "000123", "19500203"
    dataset.ContrastBolusAgent, dataset.SliceThickness = "None", 2
    dataset.ConvolutionKernel, dataset.GantryDetectorTilt = "B60s", 0
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.1", "1.2.826.0.1.2"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 7], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.Rows = dataset.Columns = SIZE_PX
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.add_new("PixelPaddingValue", "US", 0)
    private = dataset.private_block(0x0009, "DSNET FUZZ", create=True)
    private.add_new(1, "LO", "private value")
    private.add_new(2, "UN", b"bytes of Greta")
    stored = generator.integers(0, 4095, (SIZE_PX, SIZE_PX)).astype(">u2" if swapped else "<u2")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def with_sequences(dataset: Dataset, *, undefined: bool) -> Dataset:
    """Add sequences within sequences."""
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "C-B0300", "Contrast agent"
    reference = Dataset()
    reference.ReferencedSOPInstanceUID, reference.PurposeOfReferenceCodeSequence = (
        "1.2.826.0.1.9",
        Sequence([code]),
    )
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureCodeSequence = "A-77", Sequence([code])
    dataset.ContrastBolusAgentSequence = Sequence([code])
    dataset.ReferencedImageSequence = Sequence([reference, reference])
    dataset.RequestAttributesSequence = Sequence([request])
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    return dataset


def colour(interpretation: str = "RGB") -> Dataset:
    """Return an 8-bit colour image; in YBR_FULL_422 two pixels share their colours."""
    dataset = ct_slice()
    samples = 2 if interpretation == "YBR_FULL_422" else 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, interpretation
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = bytes(range(256)) * (SIZE_PX * SIZE_PX * samples // 256)
    return dataset


def frames() -> Dataset:
    """Return an image of three frames with functional groups."""
    dataset = ct_slice()
    dataset.SOPClassUID, dataset.NumberOfFrames = EnhancedCTImageStorage, 3
    dataset.PixelData *= 3
    position = Dataset()
    position.ImagePositionPatient = [0, 0, 7]
    group = Dataset()
    group.PlanePositionSequence = Sequence([position])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([group] * 3)
    return dataset


def float_map() -> Dataset:
    """Return a map of floating-point values, which has no PixelData."""
    dataset = ct_slice()
    del dataset.PixelData
    dataset.SOPClassUID, dataset.BitsAllocated = ParametricMapStorage, 32
    dataset.FloatPixelData = np.linspace(0, 1, SIZE_PX * SIZE_PX).astype("<f4").tobytes()
    return dataset


def wide() -> Dataset:
    """Return an image of 64 bits a pixel."""
    dataset = ct_slice()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 64, 64, 63
    dataset.PixelData = np.full(SIZE_PX * SIZE_PX, 1 << 63, "<u8").tobytes()
    return dataset


def report() -> Dataset:
    """Return a structured report, which has no pixels."""
    dataset = with_sequences(ct_slice(), undefined=True)
    dataset.SOPClassUID, dataset.Modality = ComprehensiveSRStorage, "SR"
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(dataset, keyword)
    return dataset


def written(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return the bytes of a file with preamble and file meta information."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def flip_bits(chance: random.Random, content: bytearray) -> None:
    """Change single bits anywhere."""
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def set_bytes(chance: random.Random, content: bytearray) -> None:
    """Overwrite a few bytes, most likely of the header."""
    at = header_offset(chance, content)
    content[at : at + 8] = chance.randbytes(chance.randint(1, 8))


def delete(chance: random.Random, content: bytearray) -> None:
    """Take bytes out."""
    at = header_offset(chance, content)
    del content[at : at + chance.choice((1, 2, 4, 8, 60))]


def cut(chance: random.Random, content: bytearray) -> None:
    """End the file early."""
    del content[chance.randrange(len(content)) :]


def repeat(chance: random.Random, content: bytearray) -> None:
    """Write a stretch twice."""
    at = header_offset(chance, content)
    content[at:at] = content[at : at + chance.choice((8, 30, 200))]


def move(chance: random.Random, content: bytearray) -> None:
    """Copy a stretch to another place."""
    at, to = header_offset(chance, content), header_offset(chance, content)
    content[to:to] = content[at : at + chance.choice((8, 30, 200))]


def insert_delimiter(chance: random.Random, content: bytearray) -> None:
    """Insert an item, an end of item or an end of sequence where an element begins, or anywhere."""
    tag = chance.choice((ITEM, ITEM_END, SEQUENCE_END))
    at = chance.choice(
        (len(content), element_offset(chance, content), header_offset(chance, content))
    )
    content[at:at] = tag + struct.pack("<I", chance.choice((0, 0, 4, *LENGTHS)))


def change_vr(chance: random.Random, content: bytearray) -> None:
    """Give an element another VR, or one that does not exist."""
    at = element_offset(chance, content) + 4
    content[at : at + 2] = chance.choice((*VRS, chance.randbytes(2)))


def change_length(chance: random.Random, content: bytearray) -> None:
    """Give an element another length."""
    at = element_offset(chance, content)
    if chance.random() < 0.5:
        content[at + 6 : at + 8] = struct.pack("<H", chance.choice(LENGTHS) & 0xFFFF)
    else:
        content[at + 8 : at + 12] = struct.pack("<I", chance.choice(LENGTHS))


def change_tag(chance: random.Random, content: bytearray) -> None:
    """Give an element the tag of another one."""
    at, other = element_offset(chance, content), element_offset(chance, content)
    content[at : at + 4] = content[other : other + 4]


def change_number(chance: random.Random, content: bytearray) -> None:
    """Overwrite the value of an element of group 0028, which decoding goes by."""
    at = element_offset(chance, content, b"\x28\x00")
    content[at + 8 : at + 10] = struct.pack("<H", chance.choice(NUMBERS))


def change_text(chance: random.Random, content: bytearray) -> None:
    """Overwrite a value with what text and numbers may not hold."""
    at = element_offset(chance, content) + 8
    odd = (b"\\\\\\\\", b"1e999", b"-0", b"\xff\xfe\x00", b"\x1b$B\x1b", b"nan", b"99999999")
    text = chance.choice(odd)
    content[at : at + len(text)] = text


def nest(chance: random.Random, content: bytearray) -> None:
    """Insert sequences within sequences, of undefined length, most of them with an end."""
    depth = chance.choice((3, 30, 300, 1000, 3000))
    begin = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"
    end = ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
    at = element_offset(chance, content)
    content[at:at] = begin * depth + end * chance.choice((depth, depth, depth - 1, 0))


def short_sequence(chance: random.Random, content: bytearray) -> None:
    """Insert a sequence of a few bytes, which hold no item."""
    at = element_offset(chance, content)
    size = chance.choice((1, 2, 4, 7, 8, 12))
    tag = chance.choice((b"\x08\x00\x40\x11", b"\x09\x00\x10\x10", b"\x40\x00\x75\x02"))
    content[at:at] = tag + b"SQ\x00\x00" + struct.pack("<I", size) + chance.randbytes(size)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, set_bytes, delete, cut, repeat, move, insert_delimiter, change_vr, change_length,
    change_tag, change_number, change_text, nest, short_sequence,
)  # fmt: skip


def header_offset(chance: random.Random, content: bytearray) -> int:
    """Return a byte, three times of four one of the header."""
    last = min(len(content), 1400) if chance.random() < 0.75 else len(content)
    return chance.randrange(last) if last else 0


def element_offset(chance: random.Random, content: bytearray, group: bytes = b"") -> int:
    """Return where bytes look like the tag of an element; not all of them are one."""
    groups = [group] if group else [b"\x02\x00", b"\x08\x00", b"\x10\x00", b"\x18\x00", b"\x20\x00",
                                    b"\x28\x00", b"\x40\x00", b"\x09\x00", b"\xe0\x7f"]  # fmt: skip
    wanted = chance.choice(groups)
    offsets = [at for at in range(len(content) - 1) if content[at : at + 2] == wanted]
    return chance.choice(offsets) if offsets else header_offset(chance, content)


if __name__ == "__main__":
    import fuzz  # itself, as a module: reading processes import `timed_read` from it

    fuzz.main()
