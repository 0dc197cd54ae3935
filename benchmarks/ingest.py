"""How fast ingestion reads, beside a plain serial pydicom loop over the same files.

``python benchmarks/ingest.py --files 1000`` writes 512 x 512 slices in several transfer syntaxes
and with several kinds of header to a temporary folder and prints one row of each. Both ways are
timed in turn, several times, by the CPU time of all their processes: what else the machine does
then hardly counts, and its own speed cancels out of the ratio. The files lie in its page cache.

``--headers FILE ...`` takes headers of real slices, too.
"""

import argparse
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from rich.console import Console
from rich.table import Table

SIZE_PX = 512
BITS = 12
DISTINCT = 8
FEW = 96
"""Files of a run that consists of starting up: just enough for it to start its processes."""
PRIVATE_ELEMENTS = 60
MANY_PRIVATE_ELEMENTS = 200
CORES = 2
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEGLosslessSV1,
    JPEG2000Lossless,
)
COMPRESSED_SHARE = 4
"""Compressed slices are that many times fewer, since each takes that much longer."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="uncompressed slices of a kind")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed")
    parser.add_argument("--headers", type=Path, nargs="*", default=[], help="real CT slices")
    arguments = parser.parse_args()
    table = Table("transfer syntax, header", "files", "plain ms", "ours ms", "ratio", "peak MB")
    for name, syntax, made in kinds(arguments.headers):
        files = max(arguments.files // (COMPRESSED_SHARE if syntax.is_compressed else 1), 2 * FEW)
        with tempfile.TemporaryDirectory(prefix="dsnet-bench-") as folder:
            table.add_row(name, *measure(Path(folder), made, files, arguments.rounds))
    Console(width=120).print(table)
    print(
        f"CPU time a file. plain: serial dcmread, pixel_array, min and max. ours: headers, "
        f"evidence, hash, cache and tables, start-up apart. ratio: plain to ours on {CORES} cores, "
        f"median of {arguments.rounds} rounds, smallest and largest."
    )


def kinds(real: list[Path]) -> Iterator[tuple[str, UID, Callable[[int], Dataset]]]:
    """Yield name, transfer syntax and maker of each kind of file; a maker takes a seed."""
    for syntax in SYNTAXES:
        if syntax in (*SYNTAXES[:2], JPEGLosslessSV1) or get_encoder(syntax).is_available:
            yield syntax.name, syntax, lambda seed, syntax=syntax: template(syntax, seed)
    explicit = ExplicitVRLittleEndian
    for count in (0, MANY_PRIVATE_ELEMENTS):
        name = f"explicit, {count} private elements"
        yield name, explicit, lambda seed, count=count: template(explicit, seed, count)
    for path in real:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        name = f"explicit, header of {header.get('Manufacturer', 'unknown')}"
        yield name, explicit, lambda seed, path=path: with_header(path, seed)


def measure(folder: Path, made: Callable[[int], Dataset], files: int, rounds: int) -> list[str]:
    """Return the cells of one kind."""
    few, many = folder / "few", folder / "many"
    write_slices(few / "dicom", made, FEW)
    write_slices(many / "dicom", made, files)
    plain_s, ours_s, peak_bytes = [], [], 0
    for number in range(rounds):
        plain_s.append(plain(many / "dicom") / files)
        few_s, _ = ours(few, folder / f"few{number}")
        many_s, peak = ours(many, folder / f"many{number}")
        ours_s.append((many_s - few_s) / (files - FEW))
        peak_bytes = max(peak, peak_bytes)
    ratios = [CORES * one / other for one, other in zip(plain_s, ours_s, strict=True)]
    return [
        f"{files}",
        f"{1e3 * statistics.median(plain_s):.2f}",
        f"{1e3 * statistics.median(ours_s):.2f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{peak_bytes / 1e6:.0f}",
    ]


def plain(folder: Path) -> float:
    """Return the CPU seconds of the loop that everybody would write first."""
    begin = time.process_time()
    for path in folder.iterdir():
        pixels = pydicom.dcmread(path).pixel_array
        pixels.min(), pixels.max()
    return time.process_time() - begin


def ours(cohort: Path, out: Path) -> tuple[float, int]:
    """Return the CPU seconds of the ingestion step and its largest resident memory, in bytes."""
    command = [sys.executable, *ingestion(cohort, out, f'{{"processes": {CORES}}}')]
    before = children_s()
    process = psutil.Popen(command)
    peak_bytes = 0
    while True:
        try:
            process.wait(timeout=0.2)
            break
        except psutil.TimeoutExpired:
            peak_bytes = max(peak_bytes, resident_bytes(process))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return children_s() - before, peak_bytes


def ingestion(cohort: Path, out: Path, params: str = "{}") -> list[str]:
    """Return Python's arguments for the ingestion step, which writes below `out`."""
    tables = out / "results" / "cohort"
    options = {
        "cohort": cohort,
        "ingest": params,
        "private": out / "private",
        "index": tables / "index.parquet",
        "source": tables / "source.json",
    }
    listed = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return ["-m", "dsnet.ingest.step", *listed]


def children_s() -> float:
    """Return the CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_bytes(process: psutil.Process) -> int:
    """Return the memory of a process and its children; pages that they share count for each."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def write_slices(folder: Path, made: Callable[[int], Dataset], files: int) -> None:
    """Write `files` slices of a few distinct images, each with a UID and position of its own."""
    folder.mkdir(parents=True)
    templates = [made(seed) for seed in range(min(DISTINCT, files))]
    for number in range(files):
        dataset = templates[number % len(templates)]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient = [-180, -180, float(number)]
        dataset.save_as(folder / f"IM{number:05d}", enforce_file_format=True)


def with_header(path: Path, seed: int) -> Dataset:
    """Return a slice with the header of a real file and the pixels of `template`."""
    dataset, image_of = pydicom.dcmread(path), template(ExplicitVRLittleEndian, seed)
    for element in image_of.group_dataset(0x0028):
        dataset[element.tag] = element
    dataset["PixelData"] = image_of["PixelData"]
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def template(syntax: UID, seed: int, private_elements: int = PRIVATE_ELEMENTS) -> Dataset:
    """Return a CT slice with as many header elements as scanners write."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_compressed else syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality, dataset.Manufacturer, dataset.PatientID = "CT", "BENCH", f"{seed:06d}"
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid()
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240102"
    dataset.KVP, dataset.SliceThickness, dataset.ConvolutionKernel = 120, 1, "BONE"
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.Rows = dataset.Columns = SIZE_PX
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    private = dataset.private_block(0x0009, "DSNET BENCH", create=True)
    for element in range(private_elements):
        private.add_new(element, "LO", f"private value {element}")
    dataset.PixelData = image(seed).tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == JPEGLosslessSV1:
        dataset.PixelData = encapsulate([jpeg_lossless(image(seed))])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    elif syntax.is_compressed:
        dataset.compress(syntax)
    return dataset


def jpeg_lossless(stored: NDArray[np.uint16]) -> bytes:
    """Return an image as lossless JPEG (ITU-T T.81, process 14, selection value 1).

    No package that is installed writes it. Each difference to the pixel on the left has a code of
    five bits, which names its number of bits, and then these.
    """
    values = stored.astype(np.int64)
    above = np.concatenate([[1 << BITS - 1], values[:-1, 0]])
    difference = np.diff(values, axis=1, prepend=above[:, None]).ravel()
    bits = np.ceil(np.log2(np.abs(difference) + 1)).astype(np.int64)
    extra = difference - (difference < 0) & (1 << bits) - 1
    place = np.arange(BITS + 5)[None, :]
    shift = (bits + 4)[:, None] - place
    code = ((bits << bits | extra)[:, None] >> shift.clip(0)) & 1
    content = np.packbits(code[shift >= 0].astype(np.uint8)).tobytes().replace(b"\xff", b"\xff\0")
    lengths = bytes(BITS + 1 if length == 5 else 0 for length in range(1, 17))
    frame = struct.pack(">BHHBBBB", BITS, *stored.shape, 1, 1, 0x11, 0)
    table = b"\0" + lengths + bytes(range(BITS + 1))
    segments = ((0xC3, frame), (0xC4, table), (0xDA, bytes((1, 1, 0, 1, 0, 0))))
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(segment) + 2) + segment
        for marker, segment in segments
    )
    return b"\xff\xd8" + head + content + b"\xff\xd9"


def image(seed: int) -> NDArray[np.uint16]:
    """Return stored values of a round body with a dense centre, and noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX / 2
    radius = np.hypot(x, y * 1.3)
    hu = np.select([radius < 30, radius < 200], [300.0, 40.0], -1000.0)
    hu += generator.normal(0, 40, hu.shape)
    return np.clip(hu + 1024, 0, 4095).astype(np.uint16)


if __name__ == "__main__":
    main()
