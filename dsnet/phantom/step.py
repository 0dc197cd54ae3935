"""The phantom step: the cohort folder, and its answer key outside of it.

The key holds the best that can be read from the bone. Each cue shows the T-score through its own
monotone function, off by its own Gaussian scatter, which all levels and slices of a patient share.
Levels differ a little, as their DXA T-scores do. So there is a best possible classifier, it is not
perfect, and `ceiling` computes it: the three cues together carry as much as one T-score measured
with the variance 1 / sum(1 / s_k^2), from which the ideal observer's posterior follows. One image
adds the scatter of its level. Noise, blur, the finite training subset and everything else that a
real detector suffers from are left out.
"""

import json
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Phantom
from dsnet.errors import UserError
from dsnet.files import whole, write_json, write_text
from dsnet.phantom.cases import plan_cohort
from dsnet.phantom.patient import (
    CLINICAL_COLUMNS,
    DXA_COLUMNS,
    Record,
    clinical_row,
    coco,
    csv_text,
    dxa_rows,
    write_patient,
)
from dsnet.phantom.person import CUE_SCATTER, LEVEL_SCATTER, Bone, t_score_table
from dsnet.processes import cpus, each_result
from dsnet.schemas import CLASSES, LEVELS
from dsnet.step import run

MARKER = ".phantom"
"""The first file written: this program made the folder and may replace it."""

_OWN_FILES = (MARKER, "dicom", "annotations", "dxa.csv", "clinical.csv", "cohort.json")
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", ".snakemake_timestamp")
_Numbers = NDArray[np.float64]


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
        plans = plan_cohort(params)
        write = partial(write_patient, params=params, dicom=cohort / "dicom")
        workers = min(processes or cpus(), len(plans))
        records = list(each_result(write, plans, workers, "phantom patients"))
        _write_tables(records, cohort)
        path.write_text(json.dumps(_about(params), indent=2) + "\n", "utf-8", newline="\n")
    write_json(answers, _answers(params, records, CohortFolder(cohort)))


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


def posterior(measured: _Numbers, variance: float) -> _Numbers:
    """Return the class probabilities given a T-score measured with Gaussian error.

    Parameters
    ----------
    measured : array, shape (n,)
    variance : float
        Of the error, in T-score units squared.

    Returns
    -------
    array, shape (3, n)
        Columns sum to 1; the three classes are equally frequent beforehand.
    """
    t_scores, probability = t_score_table()
    grid = np.linspace(-12, 9, 2101)
    density = probability @ np.exp(-0.5 * (grid - t_scores[:, None]) ** 2 / variance)
    density /= density.sum(axis=0)
    return np.array([np.interp(measured, grid, row) for row in density])


def average_precision(score: _Numbers, positive: NDArray[np.bool_]) -> float:
    """Return COCO's average precision of boxes that all match their ground truth.

    101 recall points, precision made monotone from the right.
    """
    hit = positive[np.argsort(-score, kind="stable")]
    matched = np.cumsum(hit)
    precision = np.maximum.accumulate((matched / np.arange(1, len(hit) + 1))[::-1])[::-1]
    at = np.searchsorted(matched / matched[-1], np.linspace(0, 1, 101))
    return float(precision[np.minimum(at, len(hit) - 1)].mean())


def ceiling(seed: int, samples: int = 20000, test_patients: int = 7) -> dict[str, Any]:
    """Return the accuracies and the mAP of an ideal observer who knows the generator.

    Parameters
    ----------
    seed : int
    samples : int
        Patients sampled per class.
    test_patients : int
        Patients per class of the test subset for which the chance spread of the mAP is wanted.
    """
    rng = np.random.default_rng([seed, 0, 1])
    scatter = np.array(list(CUE_SCATTER.values()))
    variance = {"hu": scatter[0] ** 2, "cues": 1 / np.sum(scatter**-2.0)}
    t_scores, probability = t_score_table()
    truth = np.repeat(np.arange(len(CLASSES)), samples)
    t_score = np.concatenate([rng.choice(t_scores, samples, p=row) for row in probability])
    errors = rng.normal(0, scatter, (len(truth), len(scatter)))
    levels = rng.normal(0, LEVEL_SCATTER, (len(truth), len(LEVELS)))
    levels = (levels - levels.mean(axis=1, keepdims=True)) * np.sqrt(4 / 3)
    result: dict[str, Any] = {"samples_per_class": samples, "seed": [seed, 0, 1], "method": _METHOD}
    for name, error in (("hu", errors[:, 0]), ("cues", _combine(errors, scatter))):
        patient = posterior(t_score + error, variance[name])
        images = (t_score + error)[:, None] + levels
        image = posterior(images.ravel(), variance[name] + LEVEL_SCATTER**2)
        result[f"{name}_accuracy"] = _accuracy(image, np.repeat(truth, len(LEVELS)))
        result[f"{name}_accuracy_patient"] = _accuracy(patient, truth)
    result["map_ceiling"] = _map(image, np.repeat(truth, len(LEVELS)))
    result["map_ceiling_test_subset"] = _spread(
        image.reshape(3, 3, samples, -1), test_patients, rng
    )
    balanced = np.corrcoef(t_score, t_score + errors[:, 0])[0, 1]
    result["hu_t_correlation"] = round(float(balanced), 4)
    result["hu_t_correlation_population"] = round(float((1 + variance["hu"]) ** -0.5), 4)
    return result


_METHOD = (
    "Monte Carlo with the exact posterior. *_accuracy: one image at a time; *_accuracy_patient: "
    "all levels of a patient together. map_ceiling: class-mean AP50 in percent of a detector "
    "that detects every body and scores with the posterior of its image. map_ceiling_test_subset: "
    "the same on random test subsets of that many patients per class. hu_t_correlation: of ln HU "
    "with T under equal class sizes, which widen the spread of T; hu_t_correlation_population: "
    "where T has a standard deviation of 1."
)


def realised(bones: list[tuple[str, Bone]]) -> dict[str, float]:
    """Return the ideal observer's patient accuracies on the cohort's own patients."""
    scatter = np.array(list(CUE_SCATTER.values()))
    truth = np.array([CLASSES.index(label) for label, _ in bones])
    t_score = np.array([bone.tenths / 10 for _, bone in bones])
    errors = np.array([bone.scatter for _, bone in bones])
    hu = posterior(t_score + errors[:, 0], scatter[0] ** 2)
    cues = posterior(t_score + _combine(errors, scatter), 1 / np.sum(scatter**-2.0))
    return {
        "hu_accuracy_patient": _accuracy(hu, truth),
        "cues_accuracy_patient": _accuracy(cues, truth),
    }


def _combine(errors: _Numbers, scatter: _Numbers) -> _Numbers:
    """Return the error of the T-score that the cues give together, weighted by precision."""
    weight = scatter**-2.0 / np.sum(scatter**-2.0)
    return np.asarray(errors @ weight)


def _accuracy(probability: _Numbers, truth: NDArray[np.intp]) -> float:
    return round(float((probability.argmax(axis=0) == truth).mean()), 6)


def _map(probability: _Numbers, truth: NDArray[np.intp]) -> float:
    by_class = [average_precision(row, truth == k) for k, row in enumerate(probability)]
    return round(100 * float(np.mean(by_class)), 4)


def _spread(image: _Numbers, patients: int, rng: np.random.Generator) -> dict[str, float]:
    """Return mean and 95 % range of the mAP; axes: class scored, true class, patient, level."""
    truth = np.repeat(np.arange(len(CLASSES)), patients * image.shape[-1])
    maps = []
    for _ in range(500):
        chosen = rng.integers(image.shape[2], size=patients)
        maps.append(_map(image[:, :, chosen].reshape(len(CLASSES), -1), truth))
    numbers = np.array([np.mean(maps), *np.percentile(maps, (2.5, 97.5))]).round(4).tolist()
    return {
        "patients_per_class": patients,
        **dict(zip(("mean", "low", "high"), numbers, strict=True)),
    }


if __name__ == "__main__":
    run(make_phantom)
