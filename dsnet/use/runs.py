"""What trainings learnt: epoch by epoch for loggers, and two results folders side by side.

From what trainings write in any case: whether, where and how often one is logged is no setting of
it and changes nothing in it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dsnet.errors import UserError
from dsnet.evaluate.grading import patients
from dsnet.evaluate.scene import read_scenes
from dsnet.files import read_json
from dsnet.results import Results, load_results
from dsnet.schemas import CLASSES

if TYPE_CHECKING:  # torch, where something is logged
    from lightning_fabric.loggers.logger import Logger

_NOT_LOGGED = ["epoch", "seconds"]


def log_trainings(results: Path | str, logger: "Callable[[str], Logger]") -> dict[str, int]:
    """Hand losses, learning rate, validation and gammas of each training to a logger.

    Of finished trainings, and of those that are under way, up to their last whole epoch. Nothing
    else is handed on, no settings and no paths among it.

    Parameters
    ----------
    results : Path or str
        A results folder.
    logger : callable
        From ``backbone/attention/seedN`` to a logger of Lightning's interface, as `tensorboard`
        makes. Epochs are its steps, from 1; names are those of `dsnet.schemas.HISTORY`, and
        ``gamma/LAYER`` at the epoch that counts (a history has no gammas).

    Returns
    -------
    dict of str to int
        Epochs logged, by training.

    Raises
    ------
    UserError
        If there is no training, or the logger's package is not installed.

    Examples
    --------
    >>> from lightning_fabric.loggers import CSVLogger
    >>> log_trainings("results", lambda run: CSVLogger("logs", run, ""))
    {'resnet50/ds/seed0': 1}
    """
    folder = Path(results)
    histories = {run: history_so_far(path) for run, path in _under_way(folder).items()}
    histories |= {run: Results(folder).history(run) for run in Results(folder).runs()}
    if not histories:
        raise UserError(
            str(results),
            expected="a results folder with a training",
            came="none",
            remedy="name one, or wait for the end of a training's first epoch",
        )
    for run, history in sorted(histories.items()):
        writer = logger(run)
        for row in history.to_dict("records"):
            metrics = {str(name): value for name, value in row.items() if name not in _NOT_LOGGED}
            known = {name: value for name, value in metrics.items() if pd.notna(value)}
            writer.log_metrics(known, step=int(row["epoch"]))
        manifest = folder / "models" / run / "manifest.json"
        if manifest.exists():
            result = read_json(manifest, "result")["result"]
            gammas = {f"gamma/{name}": value for name, value in result["gamma"].items()}
            if gammas:
                writer.log_metrics(gammas, step=result["epoch"])
        writer.finalize("success")
    return {run: len(history) for run, history in histories.items()}


def tensorboard(folder: Path) -> "Callable[[str], Logger]":
    """Return what makes the TensorBoard logger of a training, below `folder`.

    An earlier log of the same training there is replaced.
    """
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger  # noqa: PLC0415 - torch

    def logger(run: str) -> "Logger":
        name, _, version = run.rpartition("/")
        try:
            made = TensorBoardLogger(folder, name=name, version=version)
        except ModuleNotFoundError as error:
            raise UserError(
                "dsnet tensorboard",
                expected="the package tensorboard",
                came="none",
                remedy="install it: pip install tensorboard",
            ) from error
        for earlier in (folder / run).glob("events.out.tfevents.*"):
            earlier.unlink()
        return made

    return logger


def _under_way(folder: Path) -> dict[str, Path]:
    """Return the checkpoint of each training that has begun, by its name."""
    checkpoints = folder / "checkpoints"
    return {
        path.parent.relative_to(checkpoints).as_posix(): path
        for path in checkpoints.glob("*/*/seed*/last.ckpt")
    }


def history_so_far(checkpoint: Path) -> pd.DataFrame:
    """Return the whole epochs of a training that is under way, as `dsnet.schemas.HISTORY`."""
    import torch  # noqa: PLC0415 - for trainings under way alone

    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return pd.DataFrame(content["history"])


STATISTICS = (
    "map",
    "box_ap50",
    "recall",
    "accuracy",
    "localised_accuracy",
    "level_accuracy",
    "patient_accuracy",
    "patient_macro_auc",
)
"""Of `dsnet.evaluate.metrics.DEFINITIONS`, those that are set side by side."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two results folders, in the trainings that both have.

    Attributes
    ----------
    settings : DataFrame
        ``run``, ``key`` (as ``train.epochs``), and its values ``a`` and ``b``; of trainings, and of
        the data that they saw.
    metrics : DataFrame
        ``detector``, ``statistic``, and ``a``, ``a_low``, ``a_high``, ``b``, ``b_low``, ``b_high``.
        Two intervals that overlap are no test of a difference.
    grades : DataFrame
        ``run``, ``patient_key``, ``truth``, ``a`` and ``b``: test patients of both whose likeliest
        class, or true class, differs; "none" where no box was found.
    shared_patients : dict of str to int
        By run, the test patients that both have.
    """

    settings: pd.DataFrame
    metrics: pd.DataFrame
    grades: pd.DataFrame
    shared_patients: dict[str, int]

    def lines(self) -> Iterator[str]:
        """Yield what ``dsnet compare`` prints."""
        for title, table in (
            ("Settings that differ", self.settings),
            ("Metrics on the test subsets, with 95 % intervals", self.metrics.round(4)),
            ("Test patients of both whose grade changed", self.grades),
        ):
            yield f"{title}: {len(table) or 'none'}"
            yield table.to_csv(index=False) if len(table) else ""
        for run, count in self.shared_patients.items():
            yield f"{run}: {count} test patients of both"


def compare_results(a: Path | str, b: Path | str) -> Comparison:
    """Return what differs between two results folders.

    Parameters
    ----------
    a, b : Path or str
        Results folders; patients are the same if the cohort and the key of the pseudonyms are.

    Raises
    ------
    UserError
        If they have no training in common, or a file is not what it should be.
    """
    both = load_results(a), load_results(b)
    runs = [run for run in both[0].runs() if run in both[1].runs()]
    if not runs:
        raise UserError(
            str(b),
            expected=f"a training that {a} has, too",
            came="none",
            remedy="name results folders of the same detectors",
        )
    graded = {run: [_grades(results, run) for results in both] for run in runs}
    detectors = list(dict.fromkeys(run.rpartition("/")[0] for run in runs))
    return Comparison(
        pd.DataFrame(_settings(both, runs), columns=["run", "key", "a", "b"]),
        pd.DataFrame(
            _metrics(both, detectors),
            columns=["detector", "statistic"]
            + [f"{side}{bound}" for side in "ab" for bound in ("", "_low", "_high")],
        ),
        pd.DataFrame(
            (row for run in runs for row in _changed(run, *graded[run])),
            columns=["run", "patient_key", "truth", "a", "b"],
        ),
        {run: len(set(one) & set(other)) for run, (one, other) in graded.items()},
    )


def _settings(
    both: tuple[Results, Results], runs: list[str]
) -> Iterator[tuple[str, str, str, str]]:
    for run in runs:
        a, b = (
            dict(_flat({**manifest["settings"], "data": manifest["data"]}))
            for manifest in (results.manifest(run) for results in both)
        )
        for key in dict.fromkeys([*a, *b]):
            values = [str(side.get(key, "not recorded")) for side in (a, b)]
            if values[0] != values[1]:
                yield run, key, values[0], values[1]


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings, as ``train.epochs``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _metrics(both: tuple[Results, Results], detectors: list[str]) -> Iterator[list[Any]]:
    for detector in detectors:
        if all((one.folder / "metrics" / f"{detector}.json").exists() for one in both):
            a, b = (one.metrics(detector)["metrics"] for one in both)
            for name in STATISTICS:
                values = [
                    side[name].get(key) for side in (a, b) for key in ("value", "low", "high")
                ]
                yield [detector, name, *values]


def _grades(results: Results, run: str) -> dict[str, tuple[str, str]]:
    """Return the true and the likeliest class of each test patient; none without predictions."""
    file = results.folder / "predictions" / run / "test.parquet"
    metrics = results.folder / "metrics" / f"{run.rpartition('/')[0]}.json"
    if not (file.exists() and metrics.exists()):
        return {}
    point = results.metrics(run.rpartition("/")[0])["thresholds"]
    tables = results.cohort / "slices.csv", results.cohort / "split.csv"
    (scene,) = read_scenes([file], *tables, "test")
    units = patients(scene, iou=point["iou"], score=point["score"], rule=point["patient_label"])
    names = [*CLASSES, "none"]  # the last stands for -1, without an answer
    return {
        scene.patient_keys[patient]: (names[truth], names[predicted])
        for patient, truth, predicted in zip(
            units.patient, units.truth, units.predicted, strict=True
        )
    }


def _changed(
    run: str, a: Mapping[str, tuple[str, str]], b: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, str, str, str, str]]:
    for key in a:
        if key in b and a[key] != b[key]:
            truth = a[key][0] if a[key][0] == b[key][0] else f"{a[key][0]}, then {b[key][0]}"
            yield run, key, truth, a[key][1], b[key][1]
