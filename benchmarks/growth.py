"""How time and memory of ingestion grow with the number of files that it already knows.

``python benchmarks/growth.py --files 50000 200000`` makes cohort folders of empty files and, as if
they had been read before, synthetic facts of each: 44 slices a patient, 68 identifying values a
slice, of which the slices of a patient share 66. It prints seconds of CPU and the largest memory of
the ingestion step, of one that finds nothing new and of one that finds a new patient.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from ingest import template, write_slices
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console
from rich.table import Table

from dsnet.config.cohort import Ingest
from dsnet.dicom import header, reader
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import Evidence, Thresholds
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest.cache import open_cache
from dsnet.ingest.step import cache_path

PER_PATIENT = 44
SHARED_VALUES, OWN_VALUES = 66, 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[50_000, 200_000])
    arguments = parser.parse_args()
    table = Table("files", "all known, CPU s", "peak MB", "one new patient, CPU s", "peak MB")
    for files in arguments.files:
        with tempfile.TemporaryDirectory(prefix="dsnet-growth-") as folder:
            table.add_row(f"{files:,}", *measure(Path(folder), files))
    Console(width=120).print(table)


def measure(folder: Path, files: int) -> list[str]:
    """Return the cells of one number of files."""
    cohort, private = folder / "cohort", folder / "private"
    for patient in range(files // PER_PATIENT):
        (cohort / "dicom" / f"P{patient:06d}").mkdir(parents=True)
        for number in range(PER_PATIENT):
            (cohort / "dicom" / f"P{patient:06d}" / f"IM{number:05d}").touch()
    remember(cohort, private)
    cells = ingest_cells(cohort, private)
    write_slices(cohort / "dicom" / "new", partial(template, ExplicitVRLittleEndian), PER_PATIENT)
    return cells + ingest_cells(cohort, private)


def remember(cohort: Path, private: Path) -> None:
    """Put the facts of all files into the cache, as if they had been read."""
    thresholds = Thresholds(Ingest().metal_hu, Ingest().cement_hu)
    base = header.read(template(ExplicitVRLittleEndian, 0))
    with open_cache(cache_path(private, cohort), f"{reader.version()} {thresholds}") as cache:
        scanned = scan(cohort / "dicom")
        for start in range(0, len(scanned), PER_PATIENT):
            chunk = scanned[start : start + PER_PATIENT]
            cache.add((file, facts_of(file, number, base)) for number, file in enumerate(chunk))


def facts_of(file: ScannedFile, number: int, base: header.Header) -> Facts:
    """Return what a slice of a patient might hold."""
    patient = file.relative.partition("/")[0]
    series_uid = f"1.2.826.0.1.3680043.8.498.{int(patient[1:])}.1"
    head = base._replace(
        patient_id=patient,
        study_instance_uid=f"{series_uid}.0",
        series_instance_uid=series_uid,
        sop_instance_uid=f"{series_uid}.{number}",
        position_mm=float(number),
        normal="0.00 0.00 1.00",
        geometry_fault="",
        plane=f"-180.0 -180.0 {number}.0 1.0 0.0 0.0 0.0 1.0 0.0",
    )
    pixel_hash = hashlib.sha256(file.relative.encode()).hexdigest()
    evidence = Evidence(-1024.0, 1900.0, 0, 0.0, 0.0, 12.5, pixel_hash)
    values = [Value(f"Shared{n}", "text", f"{patient} {n}") for n in range(SHARED_VALUES)]
    values += [Value(f"Own{n}", "uid", f"{series_uid}.{number}.{n}") for n in range(OWN_VALUES)]
    return Facts("", head, evidence, tuple(values))


def ingest_cells(cohort: Path, private: Path) -> list[str]:
    """Return CPU seconds and largest memory of the ingestion step and its processes."""
    results = cohort.parent / "results" / "cohort"
    command = [sys.executable, "-m", "dsnet.ingest.step", "--cohort", str(cohort)]
    command += ["--ingest", "{}", "--private", str(private)]
    command += ["--index", str(results / "index.parquet"), "--source", str(results / "source.json")]
    timed = [sys.executable, "-c", _TIMED, *command]
    output = subprocess.run(timed, check=True, capture_output=True, text=True).stdout
    return output.split()


_TIMED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.1f} {used.ru_maxrss / 1024:.0f}")
"""
"""A process of its own, so that the largest memory is that of the step."""


if __name__ == "__main__":
    main()
