"""Index and map rows written by hand: each is a good slice until a test spoils it."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
from dsnet.exclude.override import Override, override

from dsnet import schemas
from dsnet.cohort.exam import DxaTable, Exam
from dsnet.config.cohort import Exclude
from dsnet.exclude.evidence import gather
from dsnet.exclude.verdict import Verdict, judge

GOOD: dict[str, Any] = {
    "uid_known": True,
    "readable": True,
    "decoded": True,
    "fault": "",
    "fault_class": "",
    "fault_frame": "",
    "transfer_syntax": "Explicit VR Little Endian",
    "sop_class": "CT Image Storage",
    "modality": "CT",
    "image_kind": "original",
    "vendor": "ge",
    "kernel": "BONE",
    "contrast": "none",
    "date_known": True,
    "rows": 256,
    "columns": 256,
    "row_spacing_mm": 0.8,
    "column_spacing_mm": 0.8,
    "slice_thickness_mm": 3.0,
    "tilt_deg": 0.0,
    "series_spacing_mm": 3.0,
    "irregular_fraction": 0.0,
    "geometry_fault": "",
    "hu_scale": True,
    "hu_min": -1000.0,
    "hu_max": 900.0,
    "saturated_voxels": 0,
    "metal_area_mm2": 0.0,
    "metal_fraction": 0.0,
    "dense_area_mm2": 0.0,
}

UNREADABLE: dict[str, Any] = {
    "readable": False,
    "decoded": False,
    "fault": "not_dicom",
    "uid_known": False,
    "patient": "",
    "modality": "",
    "image_kind": "unknown",
    "vendor": "unknown",
    "kernel": "",
    "date_known": False,
    "hu_scale": False,
    **dict.fromkeys(("rows", "columns", "hu_min", "hu_max", "tilt_deg", "metal_area_mm2"), None),
}


def key(letter: str, number: int | str) -> str:
    return f"{letter}-{number:0>16}"


def cohort(*rows: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return index and map of slices that are good but for what each row says.

    Beside the columns of the index a row may give ``patient`` (a digit; "" for none), ``series``,
    ``uid``, ``path``, ``patient_id`` and ``ct_date``.
    """
    files, identities = [], []
    for number, row in enumerate(rows):
        told = {**GOOD, **row}
        patient = str(told.pop("patient", "1"))
        uid = str(told.pop("uid", f"1.2.{number}"))
        series = str(told.pop("series", patient))
        path = told.pop("path", f"folder/{number:05d}.dcm")
        patient_id = told.pop("patient_id", f"00{patient}" if patient else "")
        ct_date = told.pop("ct_date", "2020-01-01" if patient else "")
        file_key = key("F", number)
        image_key = key("I", uid.rpartition(".")[2]) if patient else ""
        files.append(
            {
                "position_mm": 3.0 * number,
                "slice_number": number,
                "pixel_hash": f"hash{number}" if told["decoded"] else "",
                **told,
                "file_key": file_key,
                "image_key": image_key,
                "patient_key": key("P", patient) if patient else "",
                "series_key": key("S", series) if patient else "",
                "study_key": key("E", patient) if patient else "",
            }
        )
        identities.append(
            {
                "file_key": file_key,
                "image_key": image_key,
                "patient_key": key("P", patient) if patient else "",
                "relative_path": path,
                "patient_id": patient_id,
                "study_instance_uid": f"9.{patient}" if patient else "",
                "series_instance_uid": f"8.{series}" if patient else "",
                "sop_instance_uid": uid if told["uid_known"] else "",
                "ct_date": ct_date,
                "plane": "",
            }
        )
    return typed(schemas.INDEX, files), typed(schemas.MAP, identities)


def typed(schema: Any, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(schema.columns))
    return frame.astype({name: column.dtype.type for name, column in schema.columns.items()})


def boxes(*rows: tuple[int, str], named: Sequence[int] = ()) -> pd.DataFrame:
    """Return placed boxes from (file number, level)."""
    frame = pd.DataFrame(rows, columns=["file", "level"])
    return pd.DataFrame(
        {
            "file_key": [key("F", number) for number in frame["file"]],
            "level": frame["level"].astype(str),
            "x_min": 10.0,
            "y_min": 20.0,
            "x_max": 40.0,
            "y_max": 45.0,
            "named": frame["file"].isin(named),
        }
    ).astype({"file_key": str, "level": str})


def l1_boxes(index: pd.DataFrame) -> pd.DataFrame:
    """Return one box of L1 on every file."""
    return boxes(*[(number, "L1") for number in range(len(index))])


def exam(patient_id: str, day: str = "2020-01-11", **t_scores: str) -> Exam:
    """Return an exam ten days after the CT; ``spine`` stands for L1-L4."""
    scores = t_scores or {"spine": "-1.5"}
    return Exam(
        2,
        patient_id,
        date.fromisoformat(day) if day else None,
        {name.replace("spine", "L1-L4"): Decimal(text) for name, text in scores.items()},
    )


def dxa(*exams: Exam) -> DxaTable:
    by_patient: dict[str, tuple[Exam, ...]] = {}
    for one in exams:
        by_patient[one.patient_id] = (*by_patient.get(one.patient_id, ()), one)
    return DxaTable(by_patient)


def everybody(identities: pd.DataFrame) -> DxaTable:
    """Return one good exam for every patient ID."""
    return dxa(*[exam(patient) for patient in sorted(set(identities["patient_id"]) - {""})])


def evidence(
    *rows: Mapping[str, Any],
    placed: pd.DataFrame | None = None,
    exams: DxaTable | None = None,
    histories: Mapping[str, Any] | None = None,
    reading: Any = "patient",
) -> pd.DataFrame:
    index, identities = cohort(*rows)
    return gather(
        index,
        identities,
        l1_boxes(index) if placed is None else placed,
        everybody(identities) if exams is None else exams,
        histories or {},
        reading=reading,
    )


def nobody(files: pd.DataFrame) -> Override:
    """Return the decisions of a reader who made none."""
    return override(files, [])


def verdict(files: pd.DataFrame, params: Exclude | None = None) -> Verdict:
    return judge(files, params or Exclude(), nobody(files))
