"""Lightning, made quiet and set to this project's ways."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dsnet.detect.device import Machine
from dsnet.train.folder import RunFolder, WholeCheckpoints
from dsnet.train.keeper import Keeper
from dsnet.train.trainee import Trainee

_TERMINATED = 143  # the exit status that a shell gives a process ended by SIGTERM


def fit(trainee: Trainee, keeper: Keeper, folder: RunFolder, machine: Machine) -> None:
    """Train to the last epoch, from the checkpoint in `folder` if there is one.

    Afterwards the network, on the CPU, holds the weights of the last epoch. A progress bar is
    drawn on a terminal only, so that no log holds one.
    """
    # Pixels before channels in memory: what convolutions on CPUs and tensor cores want.
    trainee.network.to(memory_format=torch.channels_last)
    with _quiet():
        trainer = lightning.Trainer(
            accelerator="gpu" if machine.device.type == "cuda" else "cpu",
            devices=1,
            precision=machine.precision,
            max_epochs=trainee.config.epochs,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            callbacks=[keeper],
            plugins=[WholeCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
        )
        try:
            trainer.fit(trainee, ckpt_path=folder.last if folder.last.exists() else None)
        except SIGTERMException as error:  # by itself it would end the process with status 0
            raise SystemExit(_TERMINATED) from error
    trainee.cpu()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's hints out of the log: none of them is about the user's data."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
