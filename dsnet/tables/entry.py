"""One detector of a table: its trainings, seed by seed, and its size and speed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from dsnet.errors import UserError

Json = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One backbone with one attention, judged with every seed on the same test images.

    Attributes
    ----------
    backbone, attention : str
        As in the config.
    seeds : tuple of int
    reports : tuple of dict
        The metrics file of each seed, as `dsnet.evaluate.report` makes it.
    parameters : int
        Weights of the detector, trained or frozen.
    speed : dict
        Its row of what `dsnet.evaluate.speed` wrote.
    """

    backbone: str
    attention: str
    seeds: tuple[int, ...]
    reports: tuple[Json, ...]
    parameters: int
    speed: Json

    def mean(self, statistic: str, bound: str = "value") -> float | None:
        """Return the mean over the seeds, None if it is undefined for one of them.

        Parameters
        ----------
        statistic : str
            A key of `dsnet.evaluate.metrics.DEFINITIONS`.
        bound : {"value", "low", "high"}
            Bounds are averaged, too: with several seeds the interval still speaks of the patients
            drawn, not of the seeds, and is rather too wide than too narrow.
        """
        values = [report["metrics"][statistic][bound] for report in self.reports]
        return None if None in values else fmean(values)


def judged_on(report: Json) -> Json:
    """Return what all reports of a table must share: cohort, part, images, thresholds."""
    shared = ("cohort", "synthetic", "part", "thresholds", "interval")
    counts = {name: n for name, n in report["counts"].items() if name != "detections"}
    return {**{name: report[name] for name in shared}, "counts": counts}


def read_entries(
    names: Sequence[str], seeds: Sequence[int], timing: Json, *, metrics: Path, models: Path
) -> list[Entry]:
    """Return the entries of a table in the order of `names`.

    Parameters
    ----------
    names : sequence of str
        ``backbone/attention``.
    seeds : sequence of int
    timing : dict
        What `dsnet.evaluate.speed` wrote: all detectors, timed in one run (reading 16).
    metrics : Path
        Folder of ``{backbone}/{attention}/seed{seed}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.

    Raises
    ------
    UserError
        If a file is missing, or the detectors were not judged on the same images in the same way.
    """
    speed = {(row["backbone"], row["attention"]): row for row in timing["variants"]}
    entries = []
    for name in names:
        backbone, attention = name.split("/")
        manifest = read_json(models / name / f"seed{seeds[0]}" / "manifest.json")
        reports = tuple(read_json(metrics / name / f"seed{seed}.json") for seed in seeds)
        entries.append(
            Entry(
                backbone=backbone,
                attention=attention,
                seeds=tuple(seeds),
                reports=reports,
                parameters=manifest["result"]["parameters"],
                speed=speed[backbone, attention],
            )
        )
    _check_alike(entries)
    return entries


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
        raise UserError(
            str(path),
            expected="the JSON file of an earlier step",
            came="no such file or something else in it",
            remedy="run the workflow, which makes it first",
        ) from error
    return content


def _check_alike(entries: Sequence[Entry]) -> None:
    first = judged_on(entries[0].reports[0])
    for entry in entries:
        for seed, report in zip(entry.seeds, entry.reports, strict=True):
            if judged_on(report) != first:
                raise UserError(
                    f"metrics of {entry.backbone}/{entry.attention}, seed {seed}",
                    expected="the test images and settings of the first detector",
                    came="others",
                    remedy="run the workflow, which judges all detectors alike",
                )
