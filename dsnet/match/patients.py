"""What the hospital's tables say of each patient, by key."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dsnet.cohort.clinical import History
from dsnet.cohort.exam import DxaTable
from dsnet.cohort.identity import UnmatchedId
from dsnet.cohort.spreadsheet import read_table
from dsnet.private import PrivateCohort
from dsnet.schemas import HISTORIES, PATIENTS

OLDEST = 90
"""Ages above 89 are one group: 45 CFR 164.514(b)(2)(i)(C) counts them among the identifiers."""

_SEX = {
    **dict.fromkeys(("f", "female", "w", "woman"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
    **dict.fromkeys(("o", "other", "d", "diverse"), "other"),
}
_AGE = re.compile(r"0*(\d{1,3})(?:[.,]\d+)?\s*Y?", re.ASCII | re.IGNORECASE)
_ANSWER = {True: "yes", False: "no", None: ""}


def patients_table(
    ct: pd.DataFrame,
    dxa: DxaTable,
    histories: Mapping[str, History],
    unmatched: Sequence[UnmatchedId],
    *,
    clinical: Path,
    private: PrivateCohort,
) -> pd.DataFrame:
    """Return `dsnet.schemas.PATIENTS`: those of the CT first, in the order of the index.

    Then those of the DXA table and of ``clinical.csv`` alone, in the order of their rows.

    Parameters
    ----------
    ct : DataFrame
        The files: ``patient_key`` and, from the private map, ``patient_id``.
    dxa : DxaTable
    histories : mapping of str to History
        By patient ID.
    unmatched : sequence of UnmatchedId
        IDs without a partner, with what comes near.
    clinical : Path
        ``clinical.csv``, for sex and age; it need not exist.
    private : PrivateCohort
        Makes the keys of patients without CT.
    """
    people = _people(clinical)
    near = {one.patient_id: len(one.near) for one in unmatched}
    scanned = ct.loc[ct["patient_key"] != "", ["patient_key", "patient_id"]]
    id_of = dict(scanned.drop_duplicates("patient_key").itertuples(index=False, name=None))
    in_ct = set(id_of)
    scanned_ids = set(id_of.values())
    others = [name for name in (*dxa.exams, *histories) if name not in scanned_ids]
    id_of.update({private.pseudonym("patient", name): name for name in others})
    rows = [
        (
            key,
            key in in_ct,
            patient_id in dxa.exams,
            patient_id in histories,
            *people.get(patient_id, ("", None)),
            *(_ANSWER[histories.get(patient_id, {}).get(name)] for name in HISTORIES),
            near.get(patient_id, 0),
        )
        for key, patient_id in id_of.items()
    ]
    types = {name: column.dtype.type for name, column in PATIENTS.columns.items()}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _people(clinical: Path) -> dict[str, tuple[str, int | None]]:
    """Return sex and age by patient ID; empty without ``clinical.csv``."""
    if not clinical.exists():
        return {}
    return {
        row.cells["patient_id"]: (
            sex_of(row.cells.get("sex", "")),
            age_of(row.cells.get("age", "")),
        )
        for row in read_table(clinical, ["patient_id"], ["sex", "age"])
        if row.cells["patient_id"]
    }


def sex_of(text: str) -> str:
    """Return female, male, other, or "" where it is unknown.

    Examples
    --------
    >>> sex_of(" F "), sex_of("male"), sex_of("?")
    ('female', 'male', '')
    """
    return _SEX.get(text.strip().lower(), "")


def age_of(text: str) -> int | None:
    """Return full years of ``63``, ``63.5`` or DICOM's ``063Y``; None for anything else.

    Examples
    --------
    >>> age_of("063Y"), age_of("63.9"), age_of("94"), age_of("old")
    (63, 63, 90, None)
    """
    match = _AGE.fullmatch(text.strip())
    return min(int(match[1]), OLDEST) if match else None
