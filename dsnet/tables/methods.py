"""The methods that tables and figures show: what they are called, and the files they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.errors import UserError
from dsnet.evaluate.provenance import data_note
from dsnet.files import read_json

Json = dict[str, Any]

METHOD = "Faster R-CNN"

_BACKBONES = {
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3-Large",
}

_BASELINES = {
    "thresholds": "HU thresholds",
    "balanced": "HU threshold, osteoporosis or not",
    "multinomial": "HU multinomial",
    "nearest": "HU nearest neighbour",
}

_BOXES = {"hu": "", "hu_detected": ", detector's boxes"}
"""Folders of the baselines: HU within the annotated boxes, or within those of a detector."""


@dataclass(frozen=True)
class Entry:
    """One backbone with one attention, or one baseline, evaluated with all its seeds.

    Attributes
    ----------
    name : str
        ``backbone/attention`` as in the config, or ``hu/...``: the folders of its files.
    report : dict
        Its metrics file, as `dsnet.evaluate.step` makes it.
    model : dict
        ``result`` of the run manifest of its first seed; empty for a baseline.
    speed : dict
        Its row of what `dsnet.inference.speed` wrote; empty for a baseline.
    """

    name: str
    report: Json
    model: Json = field(default_factory=dict)
    speed: Json = field(default_factory=dict)

    @property
    def backbone(self) -> str:
        """The first half of the name."""
        return self.name.split("/")[0]

    @property
    def attention(self) -> str:
        """The second half of the name."""
        return self.name.split("/")[1]

    def of_attention(self, fact: str, unit: float = 1) -> str:
        """Return a fact of the model's attention modules by site; "" for none.

        Parameters
        ----------
        fact : {"gamma", "branch_share"}
            A key of `model`.
        unit : float
            What it is given in.

        Examples
        --------
        >>> model = {"gamma": {"backbone.body.attention_maxpool": 0.0312}}
        >>> Entry("resnet50/se", {}, model).of_attention("gamma")
        'maxpool 0.031'
        """
        return ", ".join(
            f"{module.rpartition('attention_')[2]} {value / unit:.3f}"
            for module, value in self.model[fact].items()
        )

    def value(self, statistic: str, bound: str = "value") -> float | None:
        """Return a statistic, None if it is undefined.

        Parameters
        ----------
        statistic : str
            A key of the report's ``metrics``.
        bound : {"value", "low", "high", "seed_sd"}
            The mean over the seeds, its 95 % bounds, or the standard deviation between the seeds.
        """
        number: float | None = self.report["metrics"][statistic][bound]
        return number


def title_of(name: str) -> str:
    """Return what a figure calls ``backbone/attention`` or ``hu/...``.

    Examples
    --------
    >>> title_of("resnet50/ds"), title_of("hu/thresholds")
    ('ResNet50+DS', 'HU thresholds')
    """
    kind, method = name.split("/")
    if kind in _BOXES:
        return _BASELINES[method] + _BOXES[kind]
    title = _BACKBONES[kind]
    return title if method == "none" else f"{title}+{method.upper()}"


def method_of(name: str) -> str:
    """Return what a table calls it: a detector with its method before it, as in the paper."""
    title = title_of(name)
    return title if is_baseline(name) else f"{METHOD}+{title}"


def is_baseline(name: str) -> bool:
    """Return whether a method is no detector."""
    return name.partition("/")[0] in _BOXES


def percent(fraction: float | None) -> float | None:
    """Return a fraction as a table prints it; None stays None, an empty cell."""
    return None if fraction is None else round(100 * fraction, 2)


def evaluated_on(report: Json) -> Json:
    """Return what all reports of a table must share: cohort, subset, images, thresholds."""
    shared = ("cohort", "synthetic", "slices_sha256", "subset", "thresholds", "interval")
    counts = {name: n for name, n in report["counts"].items() if name != "detections"}
    return {**{name: report[name] for name in shared}, "counts": counts}


def evaluation_note(report: Json) -> str:
    """Return `data_note` of a metrics file, and on what it was evaluated."""
    counts = report["counts"]
    images = f"{counts['patients']} patients, {counts['images']} slices"
    return f"{data_note(report)}; {report['subset']} subset, {images}"


def read_entries(
    names: Sequence[str], seeds: Sequence[int], timing: Json, *, metrics: Path, models: Path
) -> list[Entry]:
    """Return the detectors of a table in the order of `names`.

    Parameters
    ----------
    names : sequence of str
        ``backbone/attention``.
    seeds : sequence of int
        That each was trained with.
    timing : dict
        What `dsnet.inference.speed` wrote: all detectors, timed in one run
        (docs/interpretations.md#16).
    metrics : Path
        Folder of ``{backbone}/{attention}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.

    Raises
    ------
    UserError
        If a file is missing, or the detectors were not evaluated on the same images in the same
        way.
    """
    speed = {f"{row['backbone']}/{row['attention']}": row for row in timing["variants"]}
    entries = [
        Entry(
            name=name,
            report=read_report(metrics, name),
            model=read_json(models / name / f"seed{seeds[0]}" / "manifest.json")["result"],
            speed=speed[name],
        )
        for name in names
    ]
    first = evaluated_on(entries[0].report)
    for entry in entries:
        if evaluated_on(entry.report) != first or entry.report["seeds"] != list(seeds):
            raise UserError(
                f"metrics of {entry.name}",
                expected=f"the test images and settings of {entries[0].name}, and seeds {seeds}",
                came="others",
                remedy="run the workflow, which evaluates all detectors alike",
            )
    return entries


def read_report(metrics: Path, name: str, *keys: str) -> Json:
    """Return the metrics of one method, ``{name}.json`` below the folder `metrics`.

    Raises
    ------
    UserError
        If one of `keys` is missing, as in a file of an older version.
    """
    return read_json(metrics / f"{name}.json", *keys)


def read_csv(path: Path) -> pd.DataFrame:
    """Return a table that an earlier step wrote as its result.

    Raises
    ------
    UserError
        If it is missing or no CSV.
    """
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise _missing(path, "CSV") from error


def check_made(*paths: Path) -> None:
    """Make sure that a table is there, and what belongs to it.

    Raises
    ------
    UserError
        If one is missing, with the command that makes the first.
    """
    for path in paths:
        if not path.exists():
            raise UserError(
                str(path),
                expected="a table",
                came="no file",
                remedy=f"make it with snakemake --cores all {paths[0].as_posix()}",
            )


def _missing(path: Path, kind: str) -> UserError:
    return UserError(
        str(path),
        expected=f"the {kind} file of an earlier step",
        came="no such file or something else in it",
        remedy="run the workflow, which makes it first",
    )
