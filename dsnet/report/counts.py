"""The cohort in numbers: its tables, which all count the same, and counts by stage and trait."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.evaluate.subgroups import AGE_BANDS, UNKNOWN, age_band, suppress
from dsnet.exclude.criterion import STAGES
from dsnet.match.patients import OLDEST
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


GROUPS = ("included", *SUBSETS, *CLASSES, "excluded")
"""Columns of every table here: subsets, and classes of the patients included; a patient who is not
included at all is excluded."""

_VENDORS = {"ge": "GE", "siemens": "Siemens", "philips": "Philips", "canon": "Canon"}
_SEXES = ("female", "male", "other", UNKNOWN)


@dataclass(frozen=True)
class Block:
    """One trait.

    Attributes
    ----------
    title, note : str
    rows : list of (str, list of str)
        A name, and one cell for each of `GROUPS`; "" where it makes no sense.
    """

    title: str
    note: str
    rows: list[tuple[str, list[str]]]


def describe(
    tables: Tables,
    index: pd.DataFrame,
    people: pd.DataFrame,
    *,
    min_cell: int,
    strict: bool = False,
) -> list[Block]:
    """Return the description of the cohort, trait by trait.

    Parameters
    ----------
    tables : Tables
    index : DataFrame
        `dsnet.schemas.INDEX`.
    people : DataFrame
        `dsnet.schemas.PATIENTS`. Without a clinical table nothing is said of sex and age.
    min_cell : int
        Numbers of patients of one sex or age below this are hidden; 0 hides none.
    strict : bool
        Whether those of one class, vendor or kernel are, too.
    """
    patients, images = _patients(tables), _images(tables, index)
    floor = min_cell if strict else 0
    blocks = [_sizes(patients, images), _classes(patients, floor)]
    if people["in_clinical"].any():
        traits = people[["patient_key", "sex", "age"]].replace({"sex": {"": UNKNOWN}})
        patients = patients.merge(traits, on="patient_key", how="left")
        blocks += _sex_and_age(patients, min_cell)
    scores = tables.labels.assign(t_score=tables.labels["t_score"].astype(float))
    lowest = scores.groupby("patient_key")["t_score"].min()
    patients = patients.assign(t_score=patients["patient_key"].map(lowest))
    note = "the lowest that labels a vertebra"
    blocks.append(_quantity("T-score", note, patients, "t_score", floor))
    for made, title, note, column in (
        (_count, "Scanner vendor", "patients", "vendor"),
        (_count, "Kernel", "patients, by vendor", "kernel"),
        (_quantity, "Slice thickness, mm", "of images", "slice_thickness_mm"),
        (_quantity, "Pixel spacing, mm", "of images, between rows", "row_spacing_mm"),
        (_count, "Tube voltage", "patients", "tube_voltage"),
        (_quantity, "Exposure, mAs", "of images", "exposure_mas"),
        (_quantity, "Reconstruction diameter, mm", "of images", "reconstruction_diameter_mm"),
    ):
        blocks.append(made(title, note, images, column, floor))
    return blocks


def _patients(tables: Tables) -> pd.DataFrame:
    """Return ``patient_key``, ``group`` and ``class``; twice where a patient is in two subsets."""
    included = tables.split.rename(columns={"subset": "group", "stratum": "class"})
    included = included[["patient_key", "group", "class"]].drop_duplicates()
    out = tables.exclusions.loc[tables.exclusions["status"] == "excluded", ["patient_key"]]
    return pd.concat([included, out.assign(group="excluded")], ignore_index=True)


def _images(tables: Tables, index: pd.DataFrame) -> pd.DataFrame:
    """Return the images included and, of patients excluded, those that are CT at all."""
    split = tables.split.set_index("image_key")
    included = tables.ledger.loc[tables.ledger["status"] == "included", "file_key"]
    out = tables.exclusions.loc[tables.exclusions["status"] == "excluded", "patient_key"]
    lost = index[index["patient_key"].isin(out) & (index["modality"] == "CT")]
    kept = index[index["file_key"].isin(included)]
    subset, stratum = (kept["image_key"].map(split[name]) for name in ("subset", "stratum"))
    kept = kept.assign(**{"group": subset, "class": stratum})
    both = pd.concat([kept, lost.assign(group="excluded")], ignore_index=True)
    vendor = both["vendor"].replace(_VENDORS)
    kernel = vendor + " " + both["kernel"].replace("", "(blank)")
    given = both["tube_voltage_kv"]
    voltage = given.map("{:g} kV".format).where(given.notna(), UNKNOWN)
    return both.assign(vendor=vendor, kernel=kernel, tube_voltage=voltage)


def _members(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    if group == "included":
        return frame[frame["group"] != "excluded"]
    return frame[frame["class" if group in CLASSES else "group"] == group]


def _sizes(patients: pd.DataFrame, images: pd.DataFrame) -> Block:
    rows = [
        (name, [f"{_members(frame, group)[key].nunique():,}" for group in GROUPS])
        for name, frame, key in (
            ("patients", patients, "patient_key"),
            ("images", images, "image_key"),
        )
    ]
    return Block("Size", "excluded: patients of whom no image is left, and their CT images", rows)


def _classes(patients: pd.DataFrame, min_cell: int) -> Block:
    counts = _counts(patients, "class", CLASSES)[["included", *SUBSETS]]
    text = suppress(counts, min_cell).reindex(columns=GROUPS, fill_value="")
    return Block("Class", "patients; the most severe of their vertebrae", _rows(text, counts))


def _sex_and_age(patients: pd.DataFrame, min_cell: int) -> list[Block]:
    hidden = f"; categories with fewer than {min_cell} in a group are hidden" if min_cell else ""
    sexes = _counts(patients, "sex", _SEXES)
    bands = patients.assign(band=[age_band(age) for age in patients["age"]])
    ages = _counts(bands, "band", [*(name for *_, name in AGE_BANDS), UNKNOWN])
    years = _quantity("Age, years", "of patients, in full years", patients, "age", min_cell)
    ((_, cells),) = years.rows
    cells[:] = [cell.replace(str(OLDEST), "over 89") for cell in cells]
    return [
        Block("Sex", f"patients{hidden}", _rows(suppress(sexes, min_cell), sexes)),
        years,
        Block("Age group", f"patients{hidden}", _rows(suppress(ages, min_cell), ages)),
    ]


def _count(title: str, note: str, frame: pd.DataFrame, column: str, min_cell: int) -> Block:
    counts = _counts(frame, column, sorted(frame[column].unique()))
    counts = counts.sort_values(list(GROUPS), ascending=False, kind="stable")
    return Block(title, note, _rows(suppress(counts, min_cell), counts))


def _counts(frame: pd.DataFrame, column: str, names: Sequence[str]) -> pd.DataFrame:
    """Return distinct patients by value and group."""
    counts = {
        group: _members(frame, group).groupby(column)["patient_key"].nunique() for group in GROUPS
    }
    return pd.DataFrame(counts).reindex(list(names), fill_value=0).fillna(0).astype(int)


def _rows(text: pd.DataFrame, counts: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return the rows with somebody in them."""
    some = counts.sum(axis=1) > 0
    return [
        (str(name), list(cells))
        for name, cells in zip(text.index[some], text[some].to_numpy(), strict=True)
    ]


def _quantity(title: str, note: str, frame: pd.DataFrame, column: str, min_cell: int) -> Block:
    """Return median and quartiles, where there are enough patients to hide each of them."""
    cells = []
    for group in GROUPS:
        own = _members(frame, group).dropna(subset=[column])
        low, middle, high = own[column].astype(float).quantile([0.25, 0.5, 0.75])
        few = own["patient_key"].nunique() < max(min_cell, 1)
        cells.append("" if few else f"{middle:.3g} ({low:.3g} to {high:.3g})")
    return Block(title, note, [("median (quartiles)", cells)])
