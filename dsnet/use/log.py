"""What trainings learnt, epoch by epoch, for the loggers of the training's library.

From what a training writes in any case: whether, where and how often it is logged is no setting of
it and changes nothing in it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dsnet.errors import UserError
from dsnet.files import read_json
from dsnet.results import Results

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
