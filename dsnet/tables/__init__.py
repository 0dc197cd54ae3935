"""Tables for people, and what these share: names of methods, and the files they come from."""

from collections.abc import Mapping
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

BOUNDS = {"": "value", "_low": "low", "_high": "high"}
"""What is appended to a statistic's name, and the key of its metrics file that this means."""


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

    def percents(
        self, statistics: Mapping[str, str], bounds: Mapping[str, str] = BOUNDS
    ) -> dict[str, float | None]:
        """Return statistics in percent with their bounds, as columns of a table.

        Parameters
        ----------
        statistics : mapping of str to str
            By column.
        bounds : mapping of str to str
            As `BOUNDS`.
        """
        return {
            f"{column}{suffix}": percent(self.value(statistic, bound))
            for column, statistic in statistics.items()
            for suffix, bound in bounds.items()
        }

    @property
    def about(self) -> Json:
        """The cells that tables share: what was evaluated, and on what."""
        counts = self.report["counts"]
        return {
            "method": method_of(self.name),
            "seeds": len(self.report["seeds"]),
            "test_patients": counts["patients"],
            "test_images": counts["images"],
            "scope": self.report["interval"]["scope"],
            "data": data_note(self.report),
        }


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


def evaluation_note(report: Json) -> str:
    """Return `data_note` of a metrics file, and on what it was evaluated."""
    counts = report["counts"]
    images = f"{counts['patients']} patients, {counts['images']} slices"
    return f"{data_note(report)}; {report['subset']} subset, {images}"


def read_entry(
    name: str, metrics: Path, *keys: str, run: Path | None = None, speed: Json | None = None
) -> Entry:
    """Return one method.

    Parameters
    ----------
    name : str
        ``backbone/attention`` or ``hu/...``.
    metrics : Path
        Folder of ``{name}.json``.
    *keys : str
        That this file must have.
    run : Path, optional
        Folder of the training whose manifest describes the model.
    speed : dict, optional
        Its row of what `dsnet.inference.speed` wrote.

    Raises
    ------
    UserError
        If a file is missing, or lacks one of `keys`, as that of an older version.
    """
    model = read_json(run / "manifest.json")["result"] if run else {}
    return Entry(name, read_json(metrics / f"{name}.json", *keys), model, speed or {})


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
        raise UserError(
            str(path),
            expected="the CSV file of an earlier step",
            came="no such file or something else in it",
            remedy="run the workflow, which makes it first",
        ) from error


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
