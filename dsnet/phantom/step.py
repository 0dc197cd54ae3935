"""The phantom step: the cohort folder, and its answer key outside of it."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Phantom
from dsnet.errors import UserError
from dsnet.files import whole, write_json, write_text
from dsnet.phantom.bone import BOUNDARY_TENTHS, ceiling, realised
from dsnet.phantom.cases import EXCLUDED, KEPT, ORDINARY, Case
from dsnet.phantom.examination import Protocol, sample_protocols
from dsnet.phantom.patient import (
    CLINICAL_COLUMNS,
    DXA_COLUMNS,
    Plan,
    Record,
    clinical_row,
    coco,
    csv_text,
    dxa_rows,
    write_patient,
)
from dsnet.processes import cpus, open_pool
from dsnet.schemas import CLASSES
from dsnet.step import run

MARKER = ".phantom"
"""The first file written: this program made the folder and may replace it."""

_OWN_FILES = (MARKER, "dicom", "annotations", "dxa.csv", "clinical.csv", "cohort.json")
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", ".snakemake_timestamp")


def make_phantom(params: Phantom, cohort: Path, answers: Path, processes: int = 0) -> None:
    """Write the phantom cohort and its answer key.

    Parameters
    ----------
    params : Phantom
    cohort : Path
        The cohort folder; an older phantom there is replaced. ``cohort.json`` is written last, so
        its presence means that the cohort is complete.
    answers : Path
        The answer key (JSON), outside `cohort`.
    processes : int
        0 for one per CPU; the bytes written do not depend on it.

    Raises
    ------
    UserError
        If `cohort` holds anything but an older phantom, or `answers` lies in it.
    """
    _clear(cohort, answers)
    write_text(cohort / MARKER, "Made by dsnet.phantom, which replaces this folder when rerun.\n")
    with whole(cohort / "cohort.json") as path:
        records = _write_patients(params, cohort / "dicom", processes)
        _write_tables(records, cohort)
        path.write_text(json.dumps(_about(params), indent=2) + "\n", "utf-8", newline="\n")
    write_json(answers, _answers(params, records, CohortFolder(cohort)))


def plan_cohort(params: Phantom) -> list[Plan]:
    """Return the patients: first those who must stay, then one for each case of `EXCLUDED`."""
    # In random order: nothing that depends on a patient's number may tell the class.
    rng = np.random.default_rng([params.seed, 0])
    counts = class_counts(params)
    every = [
        name for rank in range(max(counts.values())) for name in CLASSES if rank < counts[name]
    ]
    labels = [every[value] for value in rng.permutation(len(every))]
    cases = [*KEPT, *[ORDINARY] * (len(labels) - len(KEPT))]
    plans: list[Plan] = []
    for label in CLASSES:
        own = [index for index, other in enumerate(labels) if other == label]
        protocols = _protocols([cases[index] for index in own], params, rng)
        for rank, (index, protocol) in enumerate(zip(own, protocols, strict=True)):
            boundary = label in BOUNDARY_TENTHS and rank <= params.patients_per_class // 24
            plans.append(Plan(index + 1, label, boundary, True, cases[index], protocol))
    plans.sort(key=lambda plan: plan.number)
    for case, protocol in zip(EXCLUDED, _protocols(EXCLUDED, params, rng), strict=True):
        number = len(plans) + 1
        plans.append(Plan(number, CLASSES[number % len(CLASSES)], False, False, case, protocol))
    return plans


def class_counts(params: Phantom) -> dict[str, int]:
    """Return how many included patients of each class there are."""
    counts = (round(params.patients_per_class * share) for share in params.class_shares)
    return dict(zip(CLASSES, counts, strict=True))


def _protocols(cases: Sequence[Case], params: Phantom, rng: np.random.Generator) -> list[Protocol]:
    needs = [case.vendor for case in cases], [case.syntax for case in cases]
    return sample_protocols(rng, *needs, mix=params.vendors, kernels=params.kernels)


def _clear(cohort: Path, answers: Path) -> None:
    """Remove an older phantom and its answer key, and nothing else."""
    if answers.resolve().is_relative_to(cohort.resolve()):
        raise UserError(
            str(answers),
            expected="an answer key outside the cohort folder",
            came="a path inside it",
            remedy="name another file",
        )
    if cohort.exists():
        entries = list(cohort.iterdir()) if cohort.is_dir() else [cohort]
        foreign = [entry for entry in entries if not _is_own(entry.name)]
        marked = any(entry.name == MARKER for entry in entries)
        if foreign or (entries and not marked and CohortFolder(cohort).phantom_seed is None):
            raise UserError(
                str(cohort),
                expected="no folder, an empty one, or an older phantom",
                came="other data",
                remedy="name another folder, or move the data away",
            )
        # The marker last: if the process is killed, the rest is still marked as a phantom.
        for entry in sorted(entries, key=lambda entry: entry.name == MARKER):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    answers.unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    unfinished = name.endswith(".part") and name.startswith(tuple(f".{own}." for own in _OWN_FILES))
    return name in _OWN_FILES or name in _SYSTEM_FILES or unfinished


def _write_patients(params: Phantom, dicom: Path, processes: int) -> list[Record]:
    plans = plan_cohort(params)
    write = partial(write_patient, params=params, dicom=dicom)
    workers = min(processes or cpus(), len(plans))
    if workers == 1:
        return _with_progress(map(write, plans), len(plans))
    with open_pool(workers) as pool:
        return _with_progress(pool.map(write, plans), len(plans))


def _with_progress(records: Iterable[Record], total: int) -> list[Record]:
    console = Console(stderr=True)
    quiet = not console.is_terminal
    return list(track(records, "phantom patients", total, console=console, disable=quiet))


def _write_tables(records: list[Record], cohort: Path) -> None:
    patients = [record.patient for record in records]
    # In the order of neither folders nor classes.
    patients.sort(key=lambda patient: patient.examination.identity.patient_id[::-1])
    dxa = [row for patient in patients for row in dxa_rows(patient)]
    write_text(cohort / "dxa.csv", csv_text(DXA_COLUMNS, dxa, "\n"))
    clinical = [clinical_row(patient) for patient in patients]
    write_text(cohort / "clinical.csv", csv_text(CLINICAL_COLUMNS, clinical, "\r\n"))
    write_json(cohort / "annotations" / "bodies.json", coco(records))


def _about(params: Phantom) -> dict[str, Any]:
    return {
        "name": "phantom",
        "synthetic": True,
        "phantom_seed": params.seed,
        "note": "Computed images of invented people, for testing: no result says anything of "
        "patients. Names, numbers and hospitals are made up.",
    }


def _answers(params: Phantom, records: list[Record], folder: CohortFolder) -> dict[str, Any]:
    included = [record.patient for record in records if record.patient.plan.included]
    test_patients = max(1, round(0.2 * params.patients_per_class))
    best = ceiling(params.seed, test_patients=test_patients)
    best["realised"] = realised([(patient.plan.label, patient.bone) for patient in included])
    files = {name: criterion for record in records for name, criterion in record.files.items()}
    return {
        "synthetic": True,
        "params": params.model_dump(mode="json"),
        "cohort_files": sum(1 for path in folder.path.rglob("*") if path.is_file()),
        "shape": folder.shape(),
        "expected": dict(Counter(patient.plan.label for patient in included)),
        "ceiling": best,
        "patients": [_patient_answer(record) for record in records],
        "planted": [entry for record in records for entry in _planted(record)],
        "files": dict(sorted(files.items())),
        "identifiers": sorted(
            {text for record in records for text in record.patient.examination.identity.strings}
        ),
    }


def _patient_answer(record: Record) -> dict[str, Any]:
    patient = record.patient
    return {
        "patient_id": patient.examination.identity.patient_id,
        "included": patient.plan.included,
        "case": patient.plan.case.name,
        "class": patient.plan.label,
        "t_score": f"{patient.bone.tenths / 10:.1f}",
        "cues": {name: round(cue, 3) for name, cue in vars(patient.bone.cues()).items()},
    }


def _planted(record: Record) -> list[dict[str, str]]:
    """Return the expected outcome of a patient and, where it differs, of single files."""
    plan, identity = record.patient.plan, record.patient.examination.identity
    status = "excluded" if not plan.included else "review"
    entries = []
    if plan.case.criterion:
        entry = {"patient_id": identity.patient_id, "criterion": plan.case.criterion}
        entries.append({**entry, "scope": "patient", "status": status})
    own = "" if plan.included else plan.case.criterion
    for name, criterion in record.files.items():
        if criterion not in ("", own):
            entry = {"file": name, "criterion": criterion}
            entries.append({**entry, "scope": "file", "status": "excluded"})
    return entries


if __name__ == "__main__":
    run(make_phantom)
