"""Who and what is in each subset of the cohort: counts and quantiles, never a single patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dsnet.evaluate.subgroups import AGE_BANDS, UNKNOWN, age_band, suppress
from dsnet.match.patients import OLDEST
from dsnet.report.counts import Tables
from dsnet.schemas import CLASSES, SUBSETS

GROUPS = ("included", *SUBSETS, *CLASSES, "excluded")
"""Columns of every table here: subsets, and classes of the patients included; a patient who is not
included at all is excluded."""

_VENDORS = {
    "ge": "GE",
    "siemens": "Siemens",
    "philips": "Philips",
    "canon": "Canon",
    "other": "other",
    "unknown": "unknown",
}
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
    blocks.append(
        _quantity("T-score", "the lowest that labels a vertebra", patients, "t_score", floor)
    )
    blocks += [
        _count("Scanner vendor", "patients", images, "vendor", floor),
        _count("Kernel", "patients, by vendor", images, "kernel", floor),
        _quantity("Slice thickness, mm", "of images", images, "slice_thickness_mm", floor),
        _quantity("Pixel spacing, mm", "of images, between rows", images, "row_spacing_mm", floor),
        _count("Tube voltage", "patients", images, "tube_voltage", floor),
        _quantity("Exposure, mAs", "of images", images, "exposure_mas", floor),
        _quantity(
            "Reconstruction diameter, mm",
            "of images",
            images,
            "reconstruction_diameter_mm",
            floor,
        ),
    ]
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
    both = pd.concat(
        [
            kept.assign(
                group=kept["image_key"].map(split["subset"]),
                **{"class": kept["image_key"].map(split["stratum"])},
            ),
            lost.assign(group="excluded"),
        ],
        ignore_index=True,
    )
    vendor = both["vendor"].map(_VENDORS)
    kernel = vendor + " " + both["kernel"].replace("", "(blank)")
    voltage = (
        both["tube_voltage_kv"]
        .map("{:g} kV".format)
        .where(both["tube_voltage_kv"].notna(), UNKNOWN)
    )
    return both.assign(vendor=vendor, kernel=kernel, tube_voltage=voltage)


def _members(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    if group == "included":
        return frame[frame["group"] != "excluded"]
    return frame[frame["class" if group in CLASSES else "group"] == group]


def _sizes(patients: pd.DataFrame, images: pd.DataFrame) -> Block:
    rows = [
        ("patients", [f"{_members(patients, g)['patient_key'].nunique():,}" for g in GROUPS]),
        ("images", [f"{_members(images, g)['image_key'].nunique():,}" for g in GROUPS]),
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
    names = [*(name for *_, name in AGE_BANDS), UNKNOWN]
    ages = _counts(bands, "band", names)
    years = _quantity("Age, years", "of patients, in full years", patients, "age", min_cell)
    years.rows[:] = [
        (name, [cell.replace(str(OLDEST), "over 89") for cell in cells])
        for name, cells in years.rows
    ]
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
        values = own[column].astype(float)
        few = own["patient_key"].nunique() < max(min_cell, 1)
        cells.append("" if few else _quartiles(values))
    return Block(title, note, [("median (quartiles)", cells)])


def _quartiles(values: "pd.Series[float]") -> str:
    low, middle, high = (f"{values.quantile(q):.3g}" for q in (0.25, 0.5, 0.75))
    return f"{middle} ({low} to {high})"
