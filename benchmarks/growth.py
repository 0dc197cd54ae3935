"""How time and memory grow with the number of files, from ingestion to the report.

``python benchmarks/growth.py --files 50000 200000`` makes cohort folders of empty files and, as if
they had been read before, synthetic facts of each: 44 slices a patient, of which 24 are annotated,
and 68 identifying values a slice, of which the slices of a patient share 66. It prints seconds of
CPU and the largest memory of the ingestion step that finds nothing new and of one that finds a new
patient, of the rules behind it, and of what a user calls. No pixels are read, nothing is trained.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from ingest import ingestion, template, write_slices
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console
from rich.table import Table

from dsnet.config.cohort import Ingest
from dsnet.dicom import header, reader
from dsnet.dicom.evidence import Evidence, Thresholds
from dsnet.dicom.identifying import Value
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest.cache import open_cache
from dsnet.ingest.step import cache_path

REPOSITORY = Path(__file__).resolve().parents[1]

PER_PATIENT, ANNOTATED = 44, 24
SHARED_VALUES, OWN_VALUES = 66, 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[50_000, 200_000])
    arguments = parser.parse_args()
    by_files = {}
    for files in arguments.files:
        with tempfile.TemporaryDirectory(prefix="dsnet-growth-") as folder:
            by_files[f"{files:,} files"] = measure(Path(folder), files)
    table = Table("CPU s, peak MB", *by_files)
    for step in next(iter(by_files.values())):
        table.add_row(step, *(cells[step] for cells in by_files.values()))
    Console(width=120).print(table)


def measure(folder: Path, files: int) -> dict[str, str]:
    """Return CPU seconds and largest memory by step, for one number of files."""
    cohort, private = folder / "cohort", folder / "private"
    for patient in range(files // PER_PATIENT):
        (cohort / "dicom" / f"P{patient:06d}").mkdir(parents=True)
        for number in range(PER_PATIENT):
            (cohort / "dicom" / f"P{patient:06d}" / f"IM{number:05d}").touch()
    remember(cohort, private)
    step = ingestion(Path("cohort"), Path())
    cells = {"ingest, nothing new": run(folder, "python", *step)}
    write_slices(cohort / "dicom" / "new", partial(template, ExplicitVRLittleEndian), PER_PATIENT)
    cells["ingest, one new patient"] = run(folder, "python", *step)
    write_tables(cohort, files // PER_PATIENT)
    config = {"cohort": str(cohort), "private": str(private), "results": "results"}
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    text = SNAKEFILE.format(snakefile=REPOSITORY / "Snakefile")
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    run(folder, "snakemake", "--cores", "2", "--quiet", "all")
    ran = (folder / "results" / "benchmarks").glob("*.tsv")
    for path in sorted(ran, key=lambda path: path.stat().st_mtime):
        with path.open(encoding="utf-8", newline="") as stream:
            (row,) = csv.DictReader(stream, delimiter="\t")
        cells[path.stem] = f"{row['cpu_time']}, {row['max_rss']}"
    cells["snakemake -n"] = run(folder, "snakemake", "-n", "--quiet", "all")
    for command in ("audit", "report"):
        cells[f"dsnet {command}"] = run(folder, "dsnet", command)
    return cells


SNAKEFILE = """
configfile: "config/config.yaml"


module dsnet:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from dsnet as dsnet_*


rule all:
    default_target: True
    input:
        "results/cohort/split.csv",
        "results/cohort/flow.svg",
"""


def write_tables(cohort: Path, patients: int) -> None:
    """Write DXA exams of three classes, and boxes on six slices of each level."""
    with (cohort / "dxa.csv").open("w", encoding="utf-8") as stream:
        stream.write("patient_id,exam_date,L1-L4_t_score\n")
        for patient in range(patients):
            stream.write(f"P{patient:06d},2024-01-05,{(0.3, -1.7, -2.8)[patient % 3]}\n")
    (cohort / "annotations").mkdir()
    with (cohort / "annotations" / "boxes.csv").open("w", encoding="utf-8") as stream:
        stream.write("file_name,level,x_min,y_min,x_max,y_max\n")
        for patient in range(patients):
            for number in range(ANNOTATED):
                level = f"L{4 - number // (ANNOTATED // 4)}"
                stream.write(f"P{patient:06d}/IM{number:05d},{level},200,260,262,310\n")


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
    pixel_hash = hashlib.sha256(file.relative.encode()).hexdigest()[:32]
    evidence = Evidence(-1024.0, 1900.0, 0, 0.0, 0.0, 12.5, pixel_hash)
    values = [Value(f"Shared{n}", "text", f"{patient} {n}") for n in range(SHARED_VALUES)]
    values += [Value(f"Own{n}", "uid", f"{series_uid}.{number}.{n}") for n in range(OWN_VALUES)]
    return Facts("", head, evidence, tuple(values))


def run(folder: Path, program: str, *arguments: str) -> str:
    """Return CPU seconds and largest memory of a program of this environment."""
    command = [str(Path(sys.executable).parent / program), *arguments]
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    timed = [sys.executable, "-c", _TIMED, *command]
    done = subprocess.run(
        timed, check=True, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    return done.stdout.splitlines()[-1]


_TIMED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.1f}, {used.ru_maxrss / 1024:.0f}")
"""
"""A process of its own, so that the largest memory is that of the step."""


if __name__ == "__main__":
    main()
