"""Lightning Fabric for one training: its devices, its precision, and what signals do to it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dsnet.config.detector import Train
from dsnet.detect.device import Machine
from dsnet.errors import UserError
from dsnet.train.checkpoints import WholeCheckpoints
from dsnet.train.data import least_images

_DTYPE = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Autocast(MixedPrecision):
    """Mixed precision that hands images and boxes to the network in float32.

    Fabric's own casts every input: in bfloat16, a box at 512 pixels errs by a pixel
    (docs/interpretations.md#9). Weights are cast at every use, not once a step, so that the
    gradients of a layer that runs on several maps are summed in float32.
    """

    def convert_input(self, data: Any) -> Any:
        """Return `data` as it is."""
        return data

    def forward_context(self) -> AbstractContextManager[None]:
        """Return torch's autocast without its cache of cast weights."""
        return torch.autocast(self.device, dtype=_DTYPE[self.precision], cache_enabled=False)


def device_count(config: Train, machine: Machine, images: int) -> int:
    """Return how many devices of each node `config` asks for: GPUs, or processes on its CPU.

    Parameters
    ----------
    config : Train
    machine : Machine
    images : int
        That an epoch uses.

    Raises
    ------
    UserError
        If there are fewer GPUs, or too few images for so many devices.
    """
    gpus = torch.cuda.device_count() if machine.device.type == "cuda" else None
    devices = (gpus or 1) if config.devices == "auto" else config.devices
    if gpus is not None and devices > gpus:
        raise UserError(
            "config train.devices",
            expected=f"at most the {gpus} GPUs that this node has",
            came=f"{devices}",
            remedy="set it to auto, or to a smaller number",
        )
    total = devices * config.nodes
    least = least_images(total)
    if min(config.batch_size, images) < least * total:
        raise UserError(
            f"training on {total} devices",
            expected=f"batches of at least {least} images for each, whose norms see no others",
            came=f"train.batch_size {config.batch_size} and {images} images",
            remedy="raise train.batch_size, or set train.devices and train.nodes lower",
        )
    return devices


def open_fabric(devices: int, nodes: int, machine: Machine) -> Fabric:
    """Return Fabric for so many devices; `launched` then starts or joins their processes.

    It knows already which of the processes this one is.

    Raises
    ------
    UserError
        If the cluster, such as SLURM or torchrun, has started other processes.
    """
    device, precision = machine.device.type, machine.precision
    plugins: list[Any] = [
        WholeCheckpoints(),
        Precision() if precision == "32-true" else Autocast(precision, device),
    ]
    # One process, or one that SLURM has started alone and that starts the others.
    if devices * nodes == 1 or (nodes == 1 and os.environ.get("SLURM_NTASKS") == "1"):
        plugins.append(LightningEnvironment())
    try:
        with _quiet():
            fabric = Fabric(
                accelerator=device,
                strategy="ddp" if devices * nodes > 1 else "auto",
                devices=devices,
                num_nodes=nodes,
                plugins=plugins,
            )
            environment = getattr(fabric.strategy, "cluster_environment", None)
            if environment is not None:
                environment.validate_settings(devices, nodes)
    except (ValueError, RuntimeError) as error:
        raise _other_processes(devices, nodes, f"others ({error})") from error
    return fabric


@contextmanager
def launched(fabric: Fabric, devices: int, nodes: int) -> Iterator[None]:
    """Start the other processes of this node, or join those that the cluster has started.

    They end with this one, however it ends. SIGTERM ends it in order, with status 143. On SIGUSR1,
    by which SLURM announces the end of a job's time, the job is put back into the queue: it is then
    resumed from the last whole epoch.

    Raises
    ------
    UserError
        If there are not as many processes as the config says.
    """
    try:
        with _quiet(), _signal_handlers():
            fabric.launch()
            if fabric.world_size != devices * nodes:
                raise _other_processes(devices, nodes, str(fabric.world_size))
            yield
    except BaseException:
        for process in getattr(fabric.strategy.launcher, "procs", []):
            process.kill()
        raise


def share_norms(network: nn.Module, fabric: Fabric) -> None:
    """Let batch norms that train see the whole batch, which several devices share.

    Raises
    ------
    UserError
        On CPUs, for which torch has no such norm.
    """
    if fabric.world_size == 1 or not any(isinstance(one, _BatchNorm) for one in network.modules()):
        return
    if fabric.device.type != "cuda":
        raise UserError(
            "config train.devices and train.nodes",
            expected="1 on CPUs, where the batch norms of several processes cannot be shared",
            came=f"{fabric.world_size} processes, and norms that train",
            remedy="set them to 1, or detector.norm to frozen with an attention without norms",
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # no types


@contextmanager
def _signal_handlers() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python allows no handlers there
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGTERM: _end}
    if SLURMEnvironment.detect():
        handlers[signal.SIGUSR1] = _requeue
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the status that a shell reports of a process ended by a signal


def _requeue(_number: int, _frame: FrameType | None) -> None:
    # The processes that the first one has started have its SLURM_PROCID, and a LOCAL_RANK.
    if os.environ.get("SLURM_PROCID", "0") != "0" or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)  # noqa: S603, S607 - SLURM's own command
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"dsnet: job {job} could not be requeued: {error}", file=sys.stderr)


def _other_processes(devices: int, nodes: int, came: str) -> UserError:
    return UserError(
        "config train.devices and train.nodes",
        expected=f"{devices} processes on each of {nodes} nodes",
        came=came,
        remedy="set them to what the cluster starts, or let it start as many",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's hints out of the log: none of them is about the user's data."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning_fabric")
            yield
    finally:
        logger.setLevel(level)
