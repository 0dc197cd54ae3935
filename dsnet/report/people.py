"""Sex and age of the cohort's patients, for counts alone: no patient's own leaves this package."""

import re
from pathlib import Path

import pandas as pd

from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.spreadsheet import read_table

UNKNOWN = "unknown"
OLDEST = 90
"""Ages above 89 are one group: 45 CFR 164.514(b)(2)(i)(C) counts them among the identifiers."""

_SEX = {
    **dict.fromkeys(("f", "female", "w", "woman"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
    **dict.fromkeys(("o", "other", "d", "diverse"), "other"),
}
_AGE = re.compile(r"0*(\d{1,3})(?:[.,]\d+)?\s*Y?", re.ASCII | re.IGNORECASE)


def read_people(cohort: Path, identities: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return sex and age of each patient; None where nobody can tell.

    That is so without ``clinical.csv``, and without the private map (after ``dvc pull``, say).

    Parameters
    ----------
    cohort : Path
        The config key of that name.
    identities : DataFrame or None
        `dsnet.schemas.MAP`.

    Returns
    -------
    DataFrame or None
        ``patient_key``, ``sex`` (female, male, other, unknown) and ``age`` (full years, `OLDEST`
        for that and more, missing where unknown), one row per patient of the map.
    """
    clinical = CohortFolder(cohort).clinical
    if identities is None or not clinical.exists():
        return None
    cells = {row.cells["patient_id"]: row.cells for row in read_table(clinical, ["patient_id"])}
    people = identities[["patient_key", "patient_id"]].drop_duplicates("patient_key")
    people = people[people["patient_key"] != ""]
    told = [cells.get(identity, {}) for identity in people["patient_id"]]
    return pd.DataFrame(
        {
            "patient_key": people["patient_key"].to_numpy(),
            "sex": [sex_of(row.get("sex", "")) for row in told],
            "age": pd.array([age_of(row.get("age", "")) for row in told], dtype="Int64"),
        }
    )


def sex_of(text: str) -> str:
    """Return female, male, other or unknown."""
    return _SEX.get(text.strip().lower(), UNKNOWN)


def age_of(text: str) -> int | None:
    """Return full years of ``63``, ``63.5`` or DICOM's ``063Y``; None for anything else."""
    match = _AGE.fullmatch(text.strip())
    return min(int(match[1]), OLDEST) if match else None
