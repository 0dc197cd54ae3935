"""Which file, series or patient each of a reader's decisions means."""

from collections.abc import Sequence

import pandas as pd

from dsnet.cohort.review import SCOPES, Decision
from dsnet.errors import UserError, collectable
from dsnet.schemas import DECISIONS

_NAMES = {
    "patient": ("patient_key", "patient_id"),
    "series": ("series_key", "series_instance_uid"),
    "file": ("file_key", "image_key", "relative_path", "sop_instance_uid"),
}
"""Columns by whose values a decision may name what it means."""

_PRIVATE = ["file_key", "relative_path", "patient_id", "series_instance_uid", "sop_instance_uid"]


def decisions_table(
    index: pd.DataFrame, identities: pd.DataFrame, decisions: Sequence[Decision]
) -> pd.DataFrame:
    """Return `dsnet.schemas.DECISIONS`, in the order of scope and then of row.

    Of rows that say the same of one file, series or patient, the last is named.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and the private `dsnet.schemas.MAP`.
    decisions : sequence of Decision

    Raises
    ------
    UserError
        If a decision fits no file, or two of one scope contradict each other.
    """
    files = index.merge(identities[_PRIVATE], on="file_key") if decisions else index
    decided: dict[tuple[str, str], Decision] = {}
    for scope in SCOPES:
        own = [decision for decision in decisions if decision.scope == scope]
        keys_of = _keys_by_name(files, scope) if own else {}
        for decision in own:
            with collectable():
                for key in _keys_meant(keys_of, decision):
                    other = decided.pop((scope, key), decision)
                    if other.keep != decision.keep:
                        raise UserError(
                            f"review.csv rows {other.row.number} and {decision.row.number}",
                            expected=f"one decision on a {scope}",
                            came="keep and exclude",
                            remedy="delete one of the rows",
                        )
                    decided[scope, key] = decision
    rows = [
        (scope, key, "keep" if one.keep else "exclude", one.row.number, one.reviewer, one.day)
        for (scope, key), one in decided.items()
    ]
    table = pd.DataFrame(rows, columns=list(DECISIONS.columns))
    return table.astype({**dict.fromkeys(table.columns, str), "row": "int64"})


def _keys_by_name(files: pd.DataFrame, scope: str) -> dict[str, list[str]]:
    """Return the keys of the files, series or patients that each name means."""
    keys_of: dict[str, list[str]] = {}
    key = f"{scope}_key"
    for column in _NAMES[scope]:
        named = files[(files[column] != "") & (files[key] != "")]
        for name, keys in named.groupby(column)[key]:
            keys_of.setdefault(str(name), list(dict.fromkeys(keys)))
    return keys_of


def _keys_meant(keys_of: dict[str, list[str]], decision: Decision) -> list[str]:
    name = decision.target
    if decision.scope == "file":
        name = name.replace("\\", "/").removeprefix("./").removeprefix("dicom/")
    if name not in keys_of:
        raise decision.row.error(
            "id",
            expected=f"a {decision.scope} of this cohort, as pseudonym or by its own name",
            came=f"text of {len(name)} characters that fits none",
            private=name,
        )
    return keys_of[name]
