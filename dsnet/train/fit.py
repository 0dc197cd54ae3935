"""Lightning, made quiet and set to this project's ways."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dsnet.config.detector import Train
from dsnet.detect.device import Machine
from dsnet.train.checkpoints import RunFolder, WholeCheckpoints
from dsnet.train.cpu_layers import replace_layers
from dsnet.train.keeper import Keeper
from dsnet.train.ranks import Ranks
from dsnet.train.trainee import Trainee

_TERMINATED = 143  # the exit status that a shell gives a process ended by SIGTERM


def trainer(config: Train, keeper: Keeper, ranks: Ranks, machine: Machine) -> lightning.Trainer:
    """Return what runs the training, and knows which of the `ranks` this process is.

    With several of them the other processes are started by Lightning, on this node, or are there
    already, as SLURM and torchrun start them. A progress bar is drawn on a terminal only, so that
    no log holds one.
    """
    with _quiet():
        return lightning.Trainer(
            accelerator="gpu" if machine.device.type == "cuda" else "cpu",
            strategy="ddp" if ranks.world > 1 else "auto",
            devices=ranks.devices,
            num_nodes=ranks.nodes,
            precision=machine.precision,
            max_epochs=config.epochs,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            callbacks=[keeper],
            plugins=[WholeCheckpoints()],
            # SLURM's requeue writes here, too.
            default_root_dir=keeper.folder.path,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
        )


def fit(running: lightning.Trainer, trainee: Trainee, folder: RunFolder) -> None:
    """Train to the end, from the checkpoint in `folder` if there is one.

    Afterwards the network, on the CPU, holds the weights of the last epoch.
    """
    # Pixels before channels in memory: what convolutions on CPUs and tensor cores want.
    trainee.network.to(memory_format=torch.channels_last)
    replace_layers(trainee.network)
    # A requeued training goes on from a whole epoch, as after any other end: within one, the order
    # of images starts anew.
    for path in folder.path.glob("hpc_ckpt_*"):
        path.unlink(missing_ok=True)
    with _quiet():
        try:
            running.fit(trainee, ckpt_path=folder.last if folder.last.exists() else None)
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
