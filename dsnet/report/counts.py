"""The cohort's tables, proof that they all count the same, and the counts by stage and subset."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.exclude.criterion import STAGES
from dsnet.results import Json, Results
from dsnet.schemas import CLASSES, SUBSETS

Counts = dict[str, int]

UNITS = ("files", "images", "patients")

_ACRONYMS = {name: name.upper() for name in ("ct", "hu", "dxa", "t", "sop", "uid")}


@dataclass(frozen=True)
class Tables:
    """What the exclusions, the labels and the split wrote.

    Attributes
    ----------
    flow : dict
        As `dsnet.exclude.step.flow_counts` returns it.
    ledger, exclusions, labels, split : DataFrame
        Under `dsnet.schemas`. Labels and split are empty where nothing is included, and before
        their steps were run.
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
        return bool(self.flow["included"]["files"] == 0)

    @property
    def split_made(self) -> bool:
        """Whether there is a split."""
        return not self.split.empty

    @property
    def leaky(self) -> bool:
        """Whether some patient is in more than one subset (docs/interpretations.md#11)."""
        pairs = self.split[["patient_key", "subset"]].drop_duplicates()
        return bool(pairs["patient_key"].duplicated().any())


def read_tables(results: Results) -> Tables:
    """Return the cohort's tables, all of which count the same.

    Raises
    ------
    UserError
        If there is no ledger, or a table is not what its step writes or counts something else than
        another.
    """
    made = {name: (results.cohort / f"{name}.csv").exists() for name in ("labels", "split")}
    if results.nothing_included:  # labels of an earlier run say nothing
        made = dict.fromkeys(made, False)
    tables = Tables(
        flow=results.flow,
        ledger=results.ledger,
        exclusions=results.exclusions,
        labels=results.labels if made["labels"] else _empty(schemas.LABELS),
        split=results.split if made["split"] else _empty(schemas.SPLIT),
    )
    check_sums(tables)
    return tables


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
            _check_same(f"flow.json, {step['slug']}, {unit} left", left, step["remain"][unit])
        remain = step["remain"]
    for unit in UNITS:
        _check_same(f"flow.json, {unit} included", remain[unit], flow["included"][unit])
    included = ledger[ledger["status"] == "included"]
    for name, rows, counts in (("", ledger, flow["found"]), (" included", included, remain)):
        _check_same(f"ledger.csv, files{name}", counts["files"], len(rows))
        for unit, key in (("images", "image_key"), ("patients", "patient_key")):
            keys = rows.loc[rows[key] != "", key]
            _check_same(f"ledger.csv, {unit}{name}", counts[unit], int(keys.nunique()))
    files_of = ledger["criterion"].value_counts()
    patients_of = tables.exclusions["criterion"].value_counts()
    for step in flow["steps"]:
        slug = step["slug"]
        _check_same(f"ledger.csv, {slug}", step["removed"]["files"], files_of.get(slug, 0))
        _check_same(f"exclusions.csv, {slug}", step["patients_excluded"], patients_of.get(slug, 0))
    _check_patients(tables, included)


def _check_patients(tables: Tables, included: pd.DataFrame) -> None:
    flow, exclusions = tables.flow, tables.exclusions
    kept = exclusions["status"] == "included"
    named = flow["found"]["files"] - flow["files_without_patient"]
    _check_same("exclusions.csv, patients", flow["found"]["patients"], len(exclusions))
    _check_same("exclusions.csv, patients included", flow["included"]["patients"], int(kept.sum()))
    _check_same("exclusions.csv, files", named, int(exclusions["n_files"].sum()))
    images = set(included["image_key"])
    for name, table in (("labels.csv", tables.labels), ("split.csv", tables.split)):
        if table.empty:  # not made yet; a reader of either refuses one that lost its rows
            continue
        others = len(images ^ set(table["image_key"]))
        _check_same(f"{name}, images that are not those included in ledger.csv", 0, others)


def _check_same(where: str, expected: int, came: int) -> None:
    if expected != came:
        raise UserError(
            where,
            expected=f"{expected}, as the other tables count",
            came=str(came),
            remedy="run the workflow again, so that all tables come from one run",
        )


def _empty(schema: pa.DataFrameSchema) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in schema.columns})


@dataclass(frozen=True)
class Stage:
    """Criteria that belong together.

    Attributes
    ----------
    title : str
    steps : tuple of dict
        Those of ``flow.json`` that removed something.
    without : int
        How many more removed nothing.
    removed, remain : dict of str to int
        By files, images and patients: of all its criteria, and after them.
    """

    title: str
    steps: tuple[dict[str, Any], ...]
    without: int
    removed: Counts
    remain: Counts


def stages(flow: Json) -> list[Stage]:
    """Return the stages that ``flow.json`` goes through.

    Raises
    ------
    UserError
        If it holds a criterion of a stage that this version does not have.
    """
    unknown = [step["slug"] for step in flow["steps"] if step.get("stage") not in STAGES]
    if unknown:
        raise UserError(
            "flow.json",
            expected="the criteria that dsnet criteria prints",
            came=f"{unknown[0]}",
            remedy="run the workflow again, so that flow and report come from one version",
        )
    every = []
    for stage, title in STAGES.items():
        steps = [step for step in flow["steps"] if step["stage"] == stage]
        if steps:
            acting = tuple(step for step in steps if any(step["removed"].values()))
            removed = {unit: sum(step["removed"][unit] for step in steps) for unit in UNITS}
            without = len(steps) - len(acting)
            every.append(Stage(title, acting, without, removed, steps[-1]["remain"]))
    return every


def subset_counts(tables: Tables) -> dict[str, dict[str, tuple[int, int]]]:
    """Return patients and images of each subset, all and by class.

    The class is the patient's, by which the split was stratified, so that a patient whose levels
    differ counts once.
    """
    counts = {}
    for subset in SUBSETS:
        own = tables.split[tables.split["subset"] == subset]
        rows = {"all": own, **{name: own[own["stratum"] == name] for name in CLASSES}}
        counts[subset] = {
            name: (int(group["patient_key"].nunique()), len(group)) for name, group in rows.items()
        }
    return counts


def words(slug: str) -> str:
    """Return a criterion's slug as words.

    Examples
    --------
    >>> words("no_hu_scale")
    'no HU scale'
    """
    return " ".join(_ACRONYMS.get(word, word) for word in slug.split("_"))
