"""The tables of the cohort: DXA, clinical history, annotations."""

from datetime import timedelta
from typing import Any

import numpy as np

from dsnet.phantom.patient import Patient, Record
from dsnet.schemas import LEVELS

HISTORY = ("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia")

DXA_COLUMNS = ("patient_id", "exam_date", *(f"{level}_t_score" for level in (*LEVELS, "L1-L4")))
CLINICAL_COLUMNS = ("patient_id", "sex", "age", "height_cm", "weight_kg", *HISTORY)

_CATEGORIES = (*LEVELS, "T12", "L5")


def dxa_rows(patient: Patient) -> list[tuple[str, ...]]:
    """Return a patient's DXA exams, the one that counts last."""
    case, identity, bone = patient.plan.case, patient.examination.identity, patient.bone
    any_days = int(_rng(patient, 1).integers(-120, 121))
    days = any_days if case.dxa_days is None else case.dxa_days
    exam_date = (identity.ct_date + timedelta(days=days)).isoformat()
    tenths = [*(bone.level_tenths(level) for level in LEVELS), bone.tenths]
    scores = tuple(f"{value / 10:.1f}" for value in tenths)
    if case.dxa == "none":
        return []
    if case.dxa == "no_score":
        scores = ("",) * len(scores)
    row = (identity.patient_id, "" if case.dxa == "no_date" else exam_date, *scores)
    if case.dxa != "twice":
        return [row]
    # An exam further off, in time and by a class.
    date = (identity.ct_date + timedelta(days=150)).isoformat()
    shift = -18 if bone.tenths > -20 else 18
    return [(identity.patient_id, date, *(f"{(v + shift) / 10:.1f}" for v in tenths)), row]


def clinical_row(patient: Patient) -> tuple[str, ...]:
    """Return a patient's sex, age, size and history."""
    case, identity = patient.plan.case, patient.examination.identity
    rng = _rng(patient, 2)
    height = rng.normal(162 if identity.sex == "F" else 175, 6)
    weight = rng.normal(26, 3.5) * (height / 100) ** 2
    history = ("yes" if name == case.history else "no" if case.known else "" for name in HISTORY)
    return (
        identity.patient_id,
        identity.sex,
        str(identity.age),
        f"{height:.0f}",
        f"{weight:.0f}",
        *history,
    )


def _rng(patient: Patient, table: int) -> np.random.Generator:
    examination = patient.examination
    return np.random.default_rng([examination.seed, examination.number, table])


def csv_text(columns: tuple[str, ...], rows: list[tuple[str, ...]], line_end: str) -> str:
    """Return a table as CSV; no value of the phantom holds a comma."""
    return "".join(",".join(row) + line_end for row in [columns, *rows])


def coco(records: list[Record]) -> dict[str, Any]:
    """Return the annotations of all patients as COCO JSON, boxes as x, y, width, height."""
    images, annotations = [], []
    for number, entry in enumerate((i for record in records for i in record.images), start=1):
        image = dict(entry)
        level, box = str(image.pop("level")), image.pop("bbox")
        images.append({"id": number, **image})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": _CATEGORIES.index(level) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
    categories = [{"id": k, "name": name} for k, name in enumerate(_CATEGORIES, start=1)]
    return {
        "info": {"description": "Vertebral bodies of the synthetic phantom"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
