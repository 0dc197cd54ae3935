"""The cohort's tables, read together, and proof that their counts are the same."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from dsnet import schemas
from dsnet.errors import UserError

Json = dict[str, Any]

UNITS = ("files", "images", "patients")

_FLOW = (
    "cohort",
    "found",
    "steps",
    "included",
    "included_flagged",
    "included_not_evaluated",
    "files_without_patient",
)


@dataclass(frozen=True)
class Tables:
    """What the exclusions, the labels and the split wrote.

    Attributes
    ----------
    flow : dict
        As `dsnet.exclude.flow.flow` returns it.
    ledger, exclusions, labels, split : DataFrame
        Under `dsnet.schemas`.
    """

    flow: Json
    ledger: pd.DataFrame
    exclusions: pd.DataFrame
    labels: pd.DataFrame
    split: pd.DataFrame

    @property
    def cohort(self) -> str:
        """The cohort's name."""
        return str(self.flow["cohort"]["name"])

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return bool(self.flow["cohort"]["synthetic"])

    @property
    def nothing_included(self) -> bool:
        """Whether every file was excluded: then there are no labels, no split and no slices."""
        return self.split.empty

    @property
    def leaky(self) -> bool:
        """Whether some patient is in more than one part (docs/interpretations.md#11)."""
        pairs = self.split[["patient_key", "subset"]].drop_duplicates()
        return bool(pairs["patient_key"].duplicated().any())


def read_tables(*, flow: Path, ledger: Path, exclusions: Path, labels: Path, split: Path) -> Tables:
    """Return the cohort's tables; of a cohort of which nothing is included, no labels and no split.

    Raises
    ------
    UserError
        If one is missing, is not what its step writes, or counts something else than another.
    """
    told = read_json(flow, *_FLOW)
    nothing = told["included"]["files"] == 0
    tables = Tables(
        flow=told,
        ledger=schemas.read(schemas.LEDGER, ledger),
        exclusions=schemas.read(schemas.EXCLUSIONS, exclusions),
        labels=_empty(schemas.LABELS) if nothing else schemas.read(schemas.LABELS, labels),
        split=_empty(schemas.SPLIT) if nothing else schemas.read(schemas.SPLIT, split),
    )
    check_sums(tables)
    return tables


def _empty(schema: pa.DataFrameSchema) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in schema.columns})


def read_json(path: Path, *keys: str) -> Json:
    """Return the JSON object that an earlier step wrote.

    Parameters
    ----------
    path : Path
    *keys : str
        That it must have.

    Raises
    ------
    UserError
        If it is missing or something else.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unlike(path.name, "no such file, or no JSON") from error
    if not isinstance(told, dict) or not set(keys) <= set(told):
        raise _unlike(path.name, "something else")
    return told


def check_sums(tables: Tables) -> None:
    """Make sure that all tables count the same.

    What is found, less what each criterion removes, is what remains after it and is included in
    the end; ledger, exclusions, labels and split hold those very files, images and patients.

    Raises
    ------
    UserError
        Naming the table and both counts.
    """
    flow, ledger = tables.flow, tables.ledger
    remain = flow["found"]
    for step in flow["steps"]:
        for unit in UNITS:
            left = remain[unit] - step["removed"][unit]
            _same(f"flow.json, {step['slug']}, {unit} left", left, step["remain"][unit])
        remain = step["remain"]
    for unit in UNITS:
        _same(f"flow.json, {unit} included", remain[unit], flow["included"][unit])
    included = ledger[ledger["status"] == "included"]
    for name, rows, counts in (("", ledger, flow["found"]), (" included", included, remain)):
        _same(f"ledger.csv, files{name}", counts["files"], len(rows))
        _same(f"ledger.csv, images{name}", counts["images"], _distinct(rows["image_key"]))
        _same(f"ledger.csv, patients{name}", counts["patients"], _distinct(rows["patient_key"]))
    files_of = ledger["criterion"].value_counts()
    patients_of = tables.exclusions["criterion"].value_counts()
    for step in flow["steps"]:
        slug = step["slug"]
        _same(f"ledger.csv, {slug}", step["removed"]["files"], files_of.get(slug, 0))
        _same(f"exclusions.csv, {slug}", step["patients_excluded"], patients_of.get(slug, 0))
    _check_patients(tables, included)


def _check_patients(tables: Tables, included: pd.DataFrame) -> None:
    flow, exclusions = tables.flow, tables.exclusions
    kept = exclusions["status"] == "included"
    named = flow["found"]["files"] - flow["files_without_patient"]
    _same("exclusions.csv, patients", flow["found"]["patients"], len(exclusions))
    _same("exclusions.csv, patients included", flow["included"]["patients"], int(kept.sum()))
    _same("exclusions.csv, files", named, int(exclusions["n_files"].sum()))
    images = set(included["image_key"])
    for name, keys in (("labels.csv", tables.labels), ("split.csv", tables.split)):
        unlike = len(images ^ set(keys["image_key"]))
        _same(f"{name}, images that are not those included in ledger.csv", 0, unlike)


def _distinct(keys: "pd.Series[str]") -> int:
    return int(keys[keys != ""].nunique())


def _same(where: str, expected: int, came: int) -> None:
    if expected != came:
        raise UserError(
            where,
            expected=f"{expected}, as the other tables count",
            came=str(came),
            remedy="run the workflow again, so that all tables come from one run",
        )


def _unlike(name: str, came: str) -> UserError:
    return UserError(
        name,
        expected="the JSON object of an earlier step",
        came=came,
        remedy="run the workflow, which makes it first",
    )
