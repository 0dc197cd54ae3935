"""How fast ingestion reads, beside a plain serial pydicom loop over the same files.

``python benchmarks/ingest.py --files 2000`` writes 512 x 512 slices in several transfer syntaxes
to a temporary folder and prints one row per syntax. The machine's own speed cancels out of the
ratio; the seconds for 50,000 files hold for this machine, with the files in its page cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_encoder
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from rich.console import Console
from rich.table import Table

SIZE_PX = 512
DISTINCT = 8
FEW = 96
"""Files of a run that consists of starting up: just enough for it to start its processes."""
PRIVATE_ELEMENTS = 60
COHORT_FILES = 50_000
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
)
COMPRESSED_SHARE = 10
"""Compressed slices are that many times fewer, since each takes that much longer."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="uncompressed slices per syntax")
    parser.add_argument("--processes", type=int, default=0, help="0: all CPUs, at most 8")
    arguments = parser.parse_args()
    table = Table(
        "transfer syntax",
        "files",
        "plain ms",
        "ours ms",
        "ratio",
        "files/s",
        "50,000 in",
        "peak MB",
    )
    for syntax in SYNTAXES:
        files = arguments.files // (COMPRESSED_SHARE if syntax.is_compressed else 1)
        files = max(files, 3 * FEW)
        if syntax.is_compressed and not get_encoder(syntax).is_available:
            table.add_row(syntax.name, "no encoder installed")
            continue
        with tempfile.TemporaryDirectory(prefix="dsnet-bench-") as folder:
            table.add_row(syntax.name, *measure(Path(folder), syntax, files, arguments.processes))
    Console(width=120).print(table)
    print(
        f"plain: serial dcmread, pixel_array, min and max. ours: {os.cpu_count()} CPUs, headers, "
        "evidence, hash, cache and tables; start-up apart, but part of the time for 50,000."
    )


def measure(folder: Path, syntax: pydicom.uid.UID, files: int, processes: int) -> list[str]:
    """Return the cells of one syntax."""
    few, many = folder / "few", folder / "many"
    write_slices(few / "dicom", syntax, FEW)
    write_slices(many / "dicom", syntax, files)
    plain_s = plain(many / "dicom") / files
    few_s, _ = ours(few, processes)
    many_s, peak_bytes = ours(many, processes)
    ours_s = (many_s - few_s) / (files - FEW)
    return [
        f"{files}",
        f"{1e3 * plain_s:.2f}",
        f"{1e3 * ours_s:.2f}",
        f"{plain_s / ours_s:.2f}",
        f"{1 / ours_s:.0f}",
        f"{few_s + (COHORT_FILES - FEW) * ours_s:.0f} s",
        f"{peak_bytes / 1e6:.0f}",
    ]


def plain(folder: Path) -> float:
    """Return the seconds of the loop that everybody would write first."""
    begin = time.perf_counter()
    for path in folder.iterdir():
        pixels = pydicom.dcmread(path).pixel_array
        pixels.min(), pixels.max()
    return time.perf_counter() - begin


def ours(cohort: Path, processes: int) -> tuple[float, int]:
    """Return the seconds of the ingestion step and its largest resident memory, in bytes."""
    results = cohort.parent / f"results-{cohort.name}" / "cohort"
    private = cohort.parent / f"private-{cohort.name}"
    command = [sys.executable, "-m", "dsnet.ingest.step", "--cohort", str(cohort)]
    command += ["--ingest", f'{{"processes": {processes}}}', "--private", str(private)]
    command += ["--index", str(results / "index.parquet"), "--source", str(results / "source.json")]
    begin = time.perf_counter()
    process = psutil.Popen(command)
    peak_bytes = 0
    while True:
        try:
            process.wait(timeout=0.1)
            break
        except psutil.TimeoutExpired:
            peak_bytes = max(peak_bytes, resident_bytes(process))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - begin, peak_bytes


def resident_bytes(process: psutil.Process) -> int:
    """Return the memory of a process and its children; pages that they share count for each."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def write_slices(folder: Path, syntax: pydicom.uid.UID, files: int) -> None:
    """Write `files` slices of a few distinct images, each with a UID and position of its own."""
    folder.mkdir(parents=True)
    templates = [template(syntax, seed) for seed in range(min(DISTINCT, files))]
    for number in range(files):
        dataset = templates[number % len(templates)]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient = [-180, -180, float(number)]
        dataset.save_as(folder / f"IM{number:05d}", enforce_file_format=True)


def template(syntax: pydicom.uid.UID, seed: int) -> Dataset:
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
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    private = dataset.private_block(0x0009, "DSNET BENCH", create=True)
    for element in range(PRIVATE_ELEMENTS):
        private.add_new(element, "LO", f"private value {element}")
    dataset.PixelData = image(seed).tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax.is_compressed:
        dataset.compress(syntax)
    return dataset


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
