"""What a reader's decisions mean for each file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.cohort.review import SCOPES, Decision
from dsnet.errors import UserError
from dsnet.exclude.criterion import Mask

_COLUMNS = {
    "patient": ("patient_key", "patient_id"),
    "series": ("series_key", "series_instance_uid"),
    "file": ("file_key", "image_key", "relative_path", "sop_instance_uid"),
}


@dataclass(frozen=True)
class Override:
    """A reader's decision on each file, in the order of the index.

    Attributes
    ----------
    excludes, keeps : Mask
        Never both on one file.
    told : array of str
        Row of ``review.csv`` that decided, its reader and day; "" where none did.
    """

    excludes: Mask
    keeps: Mask
    told: npt.NDArray[np.object_]


def override(files: pd.DataFrame, decisions: Sequence[Decision]) -> Override:
    """Return the decision on each file; a narrower scope overrides a wider one.

    Raises
    ------
    UserError
        If a decision fits no file, or two of one scope contradict each other.
    """
    keeps = np.zeros(len(files), dtype=bool)
    told = np.full(len(files), "", dtype=object)
    for scope in SCOPES:
        own = [decision for decision in decisions if decision.scope == scope]
        places = _places(files, scope) if own else {}
        decided = np.zeros(len(files), dtype=np.int64)
        for decision in own:
            at = _at(places, decision)
            against = at[(decided[at] > 0) & (keeps[at] != decision.keep)]
            if against.size:
                raise UserError(
                    f"review.csv rows {decided[against[0]]} and {decision.row.number}",
                    expected=f"one decision on a {scope}",
                    came="keep and exclude",
                    remedy="delete one of the rows",
                )
            decided[at] = decision.row.number
            told[at] = decision.summary
            keeps[at] = decision.keep
    return Override((told != "") & ~keeps, keeps, told)


def _places(files: pd.DataFrame, scope: str) -> dict[str, npt.NDArray[np.int64]]:
    """Return where each name of a file, series or patient stands."""
    found: dict[str, npt.NDArray[np.int64]] = {}
    for column in _COLUMNS[scope]:
        for name, at in files.groupby(column).indices.items():
            found.setdefault(str(name), np.asarray(at, dtype=np.int64))
    found.pop("", None)
    return found


def _at(places: dict[str, npt.NDArray[np.int64]], decision: Decision) -> npt.NDArray[np.int64]:
    name = decision.target
    if decision.scope == "file":
        name = name.replace("\\", "/").removeprefix("./").removeprefix("dicom/")
    if name not in places:
        raise decision.row.error(
            "id",
            expected=f"a {decision.scope} of this cohort, as pseudonym or by its own name",
            came=f"text of {len(name)} characters that fits none",
            private=name,
        )
    return places[name]
