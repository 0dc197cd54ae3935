"""What a DXA export calls its columns: presets of two vendors, and a free map.

No vendor publishes a list, and versions, languages and sites differ; the presets hold the usual
English names. Names are compared without regard to case and blanks.
"""

from collections.abc import Mapping
from typing import Final

from dsnet.config import DXA_COLUMNS, Dxa
from dsnet.schemas import LEVELS

SPINE: Final = "L1-L4"
REGIONS: Final = (*LEVELS, SPINE)


def _ge_lunar() -> dict[str, tuple[str, ...]]:
    """Return enCORE's names by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("Patient ID", "Patient Id."),
        "exam_date": ("Measure Date", "Measurement Date", "Exam Date"),
    }
    for region in REGIONS:
        names[f"{region}_t_score"] = (
            f"{region} T-Score",
            f"{region} YA T-Score",
            f"{region} Young-Adult T-Score",
        )
        names[f"{region}_bmd_g_cm2"] = (f"{region} BMD", f"{region} BMD (g/cm2)")
    return names


def _hologic() -> dict[str, tuple[str, ...]]:
    """Return Apex's names by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("IDENTIFIER1", "Patient ID"),
        "exam_date": ("SCAN_DATE", "Scan Date"),
    }
    for region, theirs in zip(REGIONS, (*LEVELS, "TOT"), strict=True):
        total = (SPINE, "Total") if region == SPINE else ()
        names[f"{region}_t_score"] = tuple(
            form
            for name in (theirs, *total)
            for form in (f"{name}_TSCORE", f"{name}_T_SCORE", f"{name} T-Score")
        )
        names[f"{region}_bmd_g_cm2"] = tuple(
            form for name in (theirs, *total) for form in (f"{name}_BMD", f"{name} BMD")
        )
    return names


PRESETS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dsnet": {},
    "ge_lunar": _ge_lunar(),
    "hologic": _hologic(),
}
"""The names of an export's columns by this project's."""


def translation(params: Dxa) -> dict[str, str]:
    """Return this project's column by the plain form of every name that stands for it.

    A column that the config names itself goes by that name alone.
    """
    names = {column: (column, *PRESETS[params.preset].get(column, ())) for column in DXA_COLUMNS}
    names.update({column: (name,) for column, name in params.columns.items()})
    return {plain(name): column for column, theirs in names.items() for name in theirs}


def plain(name: str) -> str:
    """Return a name in small letters, with single blanks."""
    return " ".join(name.lower().split())
