"""On whom the numbers hold: metrics by groups of test patients.

``python -m dsnet.evaluate.subgroups``. Patients are the unit: a group is a set of patients, each
with one value of a trait, and its intervals resample these patients alone. Nothing is tested
between groups, and no interval is corrected for their number: subgroups are exploratory.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.config.output import Report
from dsnet.evaluate.intervals import bootstrap_weights, estimate_over_seeds, scope, share_over_seeds
from dsnet.evaluate.metrics import all_shares, comparison_statistics
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.evaluate.scene import Flags, Scene, Truth, read_scenes
from dsnet.evaluate.step import SUBSET
from dsnet.files import write_csv
from dsnet.step import run

STATISTICS = (
    "map",
    "recall",
    "accuracy",
    "patient_accuracy",
    "patient_macro_auc",
    "patient_sensitivity_osteoporosis",
    "patient_specificity_osteoporosis",
)

COLUMNS = (
    "method",
    "backbone",
    "attention",
    "trait",
    "group",
    "group_patients",
    *(f"{name}{bound}" for name in STATISTICS for bound in ("", "_low", "_high")),
    "scope",
    "data",
)

HIDDEN = "hidden"
"""Stands for a number of patients that might identify somebody."""

UNKNOWN, SEVERAL = "unknown", "several"
"""Value of a trait that is not given, or that differs between the images of a patient."""

AGE_BANDS = (
    (0, 40, "under 40"),
    *((low, low + 10, f"{low} to {low + 9}") for low in range(40, 90, 10)),
    (90, 200, "over 89"),
)
THICKNESS_BANDS = ((0, 1, "1 mm or less"), (1, 2, "over 1 to 2 mm"), (2, 3, "over 2 to 3 mm"))
THICKER = "over 3 mm"


def evaluate_subgroups(
    *,
    variants: list[str],
    seeds: list[int],
    predictions: Path,
    boxes: Path,
    split: Path,
    digest: Path,
    labels: Path,
    index: Path,
    patients: Path,
    table: Path,
    params: Evaluate,
    report: Report,
) -> None:
    """Write metrics by sex, age, vendor, kernel, slice thickness and tube voltage.

    Parameters
    ----------
    variants : list of str
        Detectors, as ``backbone/attention``.
    seeds : list of int
    predictions : Path
        Folder of ``{backbone}/{attention}/seed{seed}/test.parquet``, `schemas.PREDICTIONS`.
    boxes, split, digest : Path
        `schemas.SLICES`, `schemas.SPLIT` and ``slices.json``.
    labels, index, patients : Path
        `schemas.LABELS`, `schemas.INDEX` and `schemas.PATIENTS`.
    table : Path
        CSV to write, statistics in percent; blank where undefined, and where a group is hidden.
    params : Evaluate
    report : Report
        Its ``min_cell`` holds for cohorts that are not synthetic.
    """
    provenance = read_provenance(digest, split)
    min_cell = 0 if provenance["synthetic"] else report.min_cell
    images = schemas.read(schemas.SPLIT, split)
    traits = patient_traits(
        images.loc[images["subset"] == SUBSET, "image_key"],
        schemas.read(schemas.LABELS, labels),
        schemas.read(schemas.INDEX, index),
        schemas.read(schemas.PATIENTS, patients),
    )
    shared = {"scope": scope(len(seeds)), "data": data_note(provenance)}
    rows = []
    for name in variants:
        files = [predictions / name / f"seed{seed}" / f"{SUBSET}.parquet" for seed in seeds]
        scenes = read_scenes(files, boxes, split, SUBSET)
        backbone, attention = name.split("/")
        method = {"method": name, "backbone": backbone, "attention": attention}
        found = group_rows(scenes, traits, params, min_cell)
        rows += [{**method, **row, **shared} for row in found]
    write_csv(table, pd.DataFrame(rows, columns=list(COLUMNS)))


def patient_traits(
    images: "pd.Series[str]", labels: pd.DataFrame, index: pd.DataFrame, people: pd.DataFrame
) -> pd.DataFrame:
    """Return the traits of each patient with an image among `images`, by ``patient_key``.

    Parameters
    ----------
    images : Series of str
        Image keys.
    labels, index, people : DataFrame
        `schemas.LABELS`, `schemas.INDEX` and `schemas.PATIENTS`.

    Returns
    -------
    DataFrame of str
        A column for each trait. Without a clinical table there are no sex and age.
    """
    files = labels.loc[labels["image_key"].isin(images), "file_key"].unique()
    rows = index[index["file_key"].isin(files)]
    of_images = pd.DataFrame(
        {
            "vendor": rows["vendor"],
            "kernel": rows["vendor"] + " " + rows["kernel"].replace("", UNKNOWN),
            "slice thickness": [
                _band(mm, THICKNESS_BANDS, THICKER, ends_in=True)
                for mm in rows["slice_thickness_mm"]
            ],
            "tube voltage": [
                UNKNOWN if np.isnan(kv) else f"{kv:g} kV" for kv in rows["tube_voltage_kv"]
            ],
        },
        index=rows.index,
    )
    values = of_images.groupby(rows["patient_key"]).agg(_shared_value)
    if not people["in_clinical"].any():
        return values
    known = people.set_index("patient_key").reindex(values.index)
    values.insert(0, "sex", known["sex"].replace("", UNKNOWN).fillna(UNKNOWN))
    values.insert(1, "age", [age_band(age) for age in known["age"]])
    return values


def _shared_value(values: "pd.Series[str]") -> str:
    return str(values.iloc[0]) if len(set(values)) == 1 else SEVERAL


def age_band(age: Any) -> str:
    """Return the ten years that an age lies in; ages above 89 are one band.

    Examples
    --------
    >>> age_band(61), age_band(90), age_band(None)
    ('60 to 69', 'over 89', 'unknown')
    """
    return UNKNOWN if age is None or pd.isna(age) else _band(age, AGE_BANDS, UNKNOWN)


def _band(
    value: float,
    bands: Sequence[tuple[float, float, str]],
    beyond: str,
    *,
    ends_in: bool = False,
) -> str:
    """Return the name of the band, of which `ends_in` says whether it holds its upper end."""
    if np.isnan(value):
        return UNKNOWN
    for low, high, name in bands:
        if (low < value <= high) if ends_in else (low <= value < high):
            return name
    return beyond


def group_rows(
    scenes: Sequence[Scene], traits: pd.DataFrame, params: Evaluate, min_cell: int
) -> list[dict[str, Any]]:
    """Return a row for all patients and for each group, statistics in percent.

    Parameters
    ----------
    scenes : sequence of Scene
        The test subset with the detections of each seed.
    traits : DataFrame
        As `patient_traits` returns it.
    params : Evaluate
    min_cell : int
        As for `suppress`.
    """
    keys = list(scenes[0].patient_keys)
    everyone = {"trait": "all", "group": "all", "group_patients": str(len(keys))}
    rows: list[dict[str, Any]] = [everyone | _figures(scenes, params)]
    for trait in traits:
        values = traits[trait].reindex(keys).to_numpy()
        counts = pd.Series(values).value_counts().sort_index()
        shown = suppress(counts.to_frame("n"), min_cell)["n"]
        for group in counts.index:
            row = {"trait": trait, "group": str(group), "group_patients": shown[group]}
            if shown[group] != HIDDEN:
                members = np.asarray(values == group, dtype=np.bool_)
                row |= _figures([scene_of_patients(scene, members) for scene in scenes], params)
            rows.append(row)
    return rows


def scene_of_patients(scene: Scene, members: Flags) -> Scene:
    """Return the scene of some of the patients; `members`, bool (patients,)."""
    images = members[scene.patient]
    number = np.cumsum(images) - 1  # of each image among those that stay
    detections = scene.detections.take(images[scene.detections.image])
    return Scene(
        (np.cumsum(members) - 1)[scene.patient[images]],
        tuple(key for key, own in zip(scene.patient_keys, members, strict=True) if own),
        Truth(*(values[images] for values in vars(scene.truth).values())),
        replace(detections, image=number[detections.image]),
        scene.row[images],
    )


def _figures(scenes: Sequence[Scene], params: Evaluate) -> dict[str, float | None]:
    """Return the statistics of a group with their bounds, in percent."""
    point: Any = {"iou": params.iou, "score": params.score, "rule": params.patient_label}
    weights = bootstrap_weights(len(scenes[0].patient_keys), params.bootstrap, params.seed)
    sampled = [comparison_statistics(scene, weights, **point) for scene in scenes]
    counted = [all_shares(scene, **point) for scene in scenes]
    figures: dict[str, float | None] = {}
    for name in STATISTICS:
        if name in counted[0]:
            made = share_over_seeds([shares[name] for shares in counted])
        else:
            made = estimate_over_seeds(np.stack([one[name] for one in sampled]), (0, 1))
        for suffix, bound in (("", "value"), ("_low", "low"), ("_high", "high")):
            value = made[bound]
            figures[f"{name}{suffix}"] = None if value is None else round(100 * value, 2)
    return figures


def suppress(counts: pd.DataFrame, min_cell: int) -> pd.DataFrame:
    """Return counts as text, "hidden" where they might identify somebody.

    A category with a small number in any group is hidden in all groups. Since the sum of what is
    hidden follows from a group's total, further categories are hidden, the smallest first, until
    that sum is not small either.

    Parameters
    ----------
    counts : DataFrame of int
        Categories by groups.
    min_cell : int
        Numbers above 0 and below this are small; 0 hides nothing.

    Examples
    --------
    >>> suppress(pd.DataFrame({"test": [2, 7, 40]}, index=["a", "b", "c"]), 5)["test"].tolist()
    ['hidden', 'hidden', '40']
    """
    hidden = _small(counts, min_cell).any(axis=1)
    while _small(counts[hidden].sum(), min_cell).any():
        others = counts[~hidden].sum(axis=1)
        others = others[others > 0]
        if others.empty:
            break
        hidden |= hidden.index == others.idxmin()
    return counts.map("{:,}".format).mask(hidden, HIDDEN)


def _small(counts: Any, min_cell: int) -> Any:
    return (counts > 0) & (counts < min_cell)


if __name__ == "__main__":
    run(evaluate_subgroups)
