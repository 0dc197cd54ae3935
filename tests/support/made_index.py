"""Index, map and matched tables by hand: each row is a good slice until a test spoils it."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet import schemas
from dsnet.cohort.exams import DxaTable, Exam, exams_table
from dsnet.config.cohort import Exclude, TScoreSource
from dsnet.exclude.criterion import gather
from dsnet.exclude.step import Outcome, apply_criteria
from dsnet.private import PrivateCohort
from dsnet.results import Source

PRIVATE = PrivateCohort("0" * 16, bytes(32), Path("nowhere"))

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
    "frames": None,
    "rows": 256,
    "columns": 256,
    "row_spacing_mm": 0.8,
    "column_spacing_mm": 0.8,
    "slice_thickness_mm": 3.0,
    "tube_voltage_kv": 120.0,
    "exposure_mas": 150.0,
    "reconstruction_diameter_mm": 350.0,
    "orientation": "LP",
    "rotation_deg": 0.0,
    "tilt_deg": 0.0,
    "series_spacing_mm": 3.0,
    "images_at_position": 1,
    "irregular_fraction": 0.0,
    "geometry_fault": "",
    "bits_stored": 12,
    "rescale_type": "HU",
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
    "hu_scale": False,
    **dict.fromkeys(("rows", "columns", "hu_min", "hu_max", "tilt_deg", "metal_area_mm2"), None),
}


def key(letter: str, number: int | str) -> str:
    return f"{letter}-{number:0>16}"


def cohort(*rows: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return index and map of slices that are good except for what each row gives.

    Beside the columns of the index a row may give ``patient`` (a digit; "" for none), ``study``,
    ``series``, ``uid``, ``path``, ``patient_id`` and ``ct_date``. Rows of one ``uid`` are copies:
    they have the pixels and the position of the first that is decoded, unless they give others.
    """
    files, identities = [], []
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows):
        values = {**GOOD, **row}
        patient = str(values.pop("patient", "1"))
        uid = str(values.pop("uid", f"1.2.{number}"))
        study = str(values.pop("study", patient))
        series = str(values.pop("series", patient))
        path = values.pop("path", f"folder/{number:05d}.dcm")
        patient_id = values.pop("patient_id", f"00{patient}" if patient else "")
        ct_date = values.pop("ct_date", "2020-01-01" if patient else "")
        first = numbers.setdefault(uid, number) if values["decoded"] else number
        file_key = key("F", number)
        image_key = key("I", uid.rpartition(".")[2]) if patient else ""
        patient_key = key("P", patient) if patient else ""
        files.append(
            {
                "position_mm": 3.0 * first,
                "slice_number": number,
                "pixel_hash": f"{first:032x}" if values["decoded"] else "",
                **values,
                "file_key": file_key,
                "image_key": image_key,
                "patient_key": patient_key,
                "series_key": key("S", series) if patient else "",
                "study_key": key("E", study) if patient else "",
                "patient_known": patient_id != "",
                "date_known": ct_date != "",
            }
        )
        identities.append(
            {
                "file_key": file_key,
                "image_key": image_key,
                "patient_key": patient_key,
                "relative_path": path,
                "patient_id": patient_id,
                "study_instance_uid": f"9.{study}" if patient else "",
                "series_instance_uid": f"8.{series}" if patient else "",
                "sop_instance_uid": uid if values["uid_known"] else "",
                "ct_date": ct_date,
                "pixel_hash": files[-1]["pixel_hash"],
                "plane": "",
            }
        )
    rank = pd.Series([row["relative_path"] for row in identities], dtype=str).rank(method="first")
    for row, number in zip(files, rank, strict=True):
        row["path_rank"] = int(number) - 1
    return typed(schemas.INDEX, files), typed(schemas.MAP, identities)


def typed(schema: Any, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of `schema`; every row gives every column, or a missing number."""
    frame = pd.DataFrame(rows, columns=list(schema.columns))
    return frame.astype({name: column.dtype.type for name, column in schema.columns.items()})


def of_ct(index: pd.DataFrame, identities: pd.DataFrame) -> pd.DataFrame:
    """Return the files with what the match step takes from the map."""
    return index.merge(identities[["file_key", "patient_id", "ct_date"]], on="file_key")


def boxes(*rows: tuple[int, str], named: Sequence[int] = ()) -> pd.DataFrame:
    """Return the boxes that count, from (file number, level)."""
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


def exam(patient_id: str, day: str = "2020-01-11", row: int = 2, **t_scores: str) -> Exam:
    """Return an exam ten days after the CT; ``spine`` stands for L1-L4."""
    scores = t_scores or {"spine": "-1.5"}
    return Exam(
        row,
        patient_id,
        date.fromisoformat(day) if day else None,
        {name.replace("spine", "L1-L4"): Decimal(text) for name, text in scores.items()},
    )


def dxa(*exams: Exam) -> DxaTable:
    by_patient: dict[str, list[Exam]] = {}
    for one in exams:
        by_patient.setdefault(one.patient_id, []).append(one)
    return DxaTable(
        {
            name: tuple(sorted(own, key=lambda one: (one.date or date.min, one.row)))
            for name, own in by_patient.items()
        }
    )


def everybody(identities: pd.DataFrame) -> DxaTable:
    """Return one good exam for every patient ID."""
    return dxa(*[exam(patient) for patient in sorted(set(identities["patient_id"]) - {""})])


def patients(histories: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return `dsnet.schemas.PATIENTS` with these histories, by the digit of a patient."""
    blank = {**dict.fromkeys(schemas.HISTORIES, ""), "sex": "", "age": None, "near_misses": 0}
    flags = {"in_ct": True, "in_dxa": True, "in_clinical": True}
    rows = [
        {**blank, **flags, "patient_key": key("P", patient), **history}
        for patient, history in histories.items()
    ]
    return typed(schemas.PATIENTS, rows)


def decisions(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    """Return `dsnet.schemas.DECISIONS` of (scope, key, decision, row)."""
    by = {"reviewer": "AB", "date": "2020-03-01"}
    return typed(
        schemas.DECISIONS,
        [
            {"scope": scope, "key": name, "decision": decision, "row": row, **by}
            for scope, name, decision, row in rows
        ],
    )


def evidence(
    *rows: Mapping[str, Any],
    annotated: pd.DataFrame | None = None,
    exams: DxaTable | None = None,
    histories: Mapping[str, Mapping[str, str]] | None = None,
    t_score: TScoreSource = "patient",
) -> pd.DataFrame:
    """Return what criteria look at; by default every file shows L1 and every patient has an exam.

    No history is known unless given.
    """
    index, identities = cohort(*rows)
    measured = everybody(identities) if exams is None else exams
    return gather(
        index,
        l1_boxes(index) if annotated is None else annotated,
        exams_table(of_ct(index, identities), measured, PRIVATE),
        patients(histories or {}),
        t_score=t_score,
    )


def outcome(files: pd.DataFrame, params: Exclude | None = None) -> Outcome:
    """Return the outcome without a reader's decisions."""
    return apply_criteria(files, params or Exclude(), decisions())


def source_of(**values: Any) -> Source:
    """Return a stamp with what the test does not care about filled in."""
    filled = {
        "cohort_id": "0" * 16,
        "key": "1" * 16,
        "name": "made",
        "note": "",
        "synthetic": True,
        "phantom_seed": None,
        **dict.fromkeys(("files", "bytes", "readable", "decoded"), 3),
        "unexpected": 0,
        "not_searched": {},
        "index_sha256": "2" * 64,
    }
    return Source(**{**filled, **values})
