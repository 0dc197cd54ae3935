"""One method of a table: its metrics over all seeds, and for a detector its size and speed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.errors import UserError
from dsnet.evaluate.about import note_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One backbone with one attention, or one baseline, judged with all its seeds.

    Attributes
    ----------
    name : str
        ``backbone/attention`` as in the config, or ``hu/...``: the folders of its files.
    report : dict
        Its metrics file, as `dsnet.evaluate.report` makes it.
    model : dict
        ``result`` of the run manifest of its first seed; empty for a baseline.
    speed : dict
        Its row of what `dsnet.predict.speed` wrote; empty for a baseline.
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

    def value(self, statistic: str, bound: str = "value") -> float | None:
        """Return a statistic, None if it is undefined.

        Parameters
        ----------
        statistic : str
            A key of the report's ``metrics``.
        bound : {"value", "low", "high", "seed_sd"}
            The mean over the seeds, its 95 % bounds over patients, or the seeds' own spread.
        """
        number: float | None = self.report["metrics"][statistic][bound]
        return number


def judged_on(report: Json) -> Json:
    """Return what all reports of a table must share: cohort, part, images, thresholds."""
    shared = ("cohort", "synthetic", "subset", "thresholds", "interval")
    counts = {name: n for name, n in report["counts"].items() if name != "detections"}
    return {**{name: report[name] for name in shared}, "counts": counts}


def judged_note(report: Json) -> str:
    """Return `note_of` a metrics file, and what it was judged on."""
    counts = report["counts"]
    judged = f"{report['subset']} part, {counts['patients']} patients, {counts['images']} slices"
    return f"{note_of(report)}; {judged}"


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
        What `dsnet.predict.speed` wrote: all detectors, timed in one run
        (docs/interpretations.md#16).
    metrics : Path
        Folder of ``{backbone}/{attention}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.

    Raises
    ------
    UserError
        If a file is missing, or the detectors were not judged on the same images in the same way.
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
    _check_alike(entries, seeds)
    return entries


def read_report(metrics: Path, name: str) -> Json:
    """Return the metrics of one method, ``{name}.json`` below the folder `metrics`."""
    return read_json(metrics / f"{name}.json")


def read_json(path: Path) -> Json:
    """Return the content of a JSON file that an earlier step wrote.

    Raises
    ------
    UserError
        If it is missing or no JSON.
    """
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _missing(path, "JSON") from error
    return content


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


def _missing(path: Path, kind: str) -> UserError:
    return UserError(
        str(path),
        expected=f"the {kind} file of an earlier step",
        came="no such file or something else in it",
        remedy="run the workflow, which makes it first",
    )


def _check_alike(entries: Sequence[Entry], seeds: Sequence[int]) -> None:
    first = judged_on(entries[0].report)
    for entry in entries:
        if judged_on(entry.report) != first or entry.report["seeds"] != list(seeds):
            raise UserError(
                f"metrics of {entry.name}",
                expected=f"the test images and settings of {entries[0].name}, and seeds {seeds}",
                came="others",
                remedy="run the workflow, which judges all detectors alike",
            )
