"""The processes of one training: what they need, two of them at work, and what signals do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from support import every_region, small_training
from torch import nn

from dsnet import schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.device import Machine
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.train.launch import device_count, launched, open_fabric, share_norms

pytestmark = pytest.mark.slow

CPU = Machine(torch.device("cpu"), "", 1, "32-true")
GPU = Machine(torch.device("cuda"), "", 1, "32-true")
BF16 = Machine(torch.device("cpu"), "", 1, "bf16-mixed")


def test_auto_is_every_gpu_and_one_process_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_count(Train(devices="auto"), CPU, 100) == 1
    assert device_count(Train(devices="auto", batch_size=16), GPU, 100) == 4
    assert device_count(Train(devices=2, nodes=2, batch_size=16), GPU, 100) == 2
    assert device_count(Train(), GPU, 100) == 1


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"at most the 1 GPUs .* found 2; set it to auto"):
        device_count(Train(devices=2), GPU, 100)


@pytest.mark.parametrize(("batch_size", "images"), [(15, 100), (16, 15)])
def test_each_device_needs_four_images_of_a_batch(batch_size: int, images: int) -> None:
    assert device_count(Train(devices=2, nodes=2, batch_size=16), CPU, 16) == 2
    with pytest.raises(UserError, match="training on 4 devices: expected batches of at least 4"):
        device_count(Train(devices=2, nodes=2, batch_size=batch_size), CPU, images)


class Cast(nn.Module):
    """A layer that runs on three maps; it keeps the type of its input and of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3)
        self.types: list[torch.dtype] = []

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        outputs = [self.conv(one) for one in maps]
        self.types = [maps[0].dtype, outputs[0].dtype]
        return torch.stack([output.float().square().sum() for output in outputs]).sum()


def test_under_bf16_inputs_stay_float32_and_gradients_are_summed_in_float32() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 8, 16, 16) for _ in range(3)]
    fabric = open_fabric(1, 1, BF16)
    layer = Cast()
    model = fabric.setup(layer)
    fabric.backward(model(maps))
    assert layer.types == [torch.float32, torch.bfloat16]
    together = layer.conv.weight.grad.clone()
    separate = []
    for one in maps:
        layer.zero_grad()
        fabric.backward(model([one]))
        separate.append(layer.conv.weight.grad.clone())
    torch.testing.assert_close(together, torch.stack(separate).sum(dim=0), rtol=1e-6, atol=1e-5)


def test_a_cluster_that_started_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": 1, "WORLD_SIZE": 3, "RANK": 0, "LOCAL_RANK": 0}
    for name, value in {**started, "GROUP_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    sentence = (
        r"train\.devices and train\.nodes: expected 2 processes on each of 1 nodes, but found"
    )
    with pytest.raises(UserError, match=sentence):
        open_fabric(2, 1, CPU)
    assert open_fabric(1, 1, CPU).world_size == 1  # one process needs no cluster


def test_what_really_runs_is_compared_with_the_config() -> None:
    running = launched(open_fabric(1, 1, CPU), 2, 1)
    with pytest.raises(UserError, match="expected 2 processes on each of 1 nodes, but found 1"):
        running.__enter__()


WORLD = """
import os
import torch
from dsnet.detect.device import Machine
from dsnet.train.launch import launched, open_fabric
fabric = open_fabric(2, 1, Machine(torch.device("cpu"), "", 1, "32-true"))
with launched(fabric, 2, 1):
    total = fabric.all_reduce(torch.ones(1), reduce_op="sum").item()
    os.write(1, f"{fabric.world_size} {total}\\n".encode())  # whole, beside the other process
"""


def slurm(tasks: int) -> dict[str, str]:
    """Return what srun gives the first of so many tasks on one node."""
    values = {"NTASKS": tasks, "JOB_NAME": "train", "JOB_ID": 7, "PROCID": 0, "LOCALID": 0}
    values |= {"NODEID": 0, "NNODES": 1, "NODELIST": "localhost", "NTASKS_PER_NODE": tasks}
    return {f"SLURM_{name}": str(value) for name, value in values.items()}


@pytest.mark.skipif(sys.platform == "win32", reason="SLURM runs on Linux")
def test_one_task_of_slurm_starts_the_other_process_itself(tmp_path: Path) -> None:
    script = tmp_path / "world.py"
    script.write_text(WORLD)
    environment = os.environ | slurm(1)
    del environment["SLURM_NTASKS_PER_NODE"]  # which the srun of a rule does not set
    printed = subprocess.check_output(
        [sys.executable, str(script)], env=environment, text=True, timeout=300
    )
    assert printed == "2 2.0\n" * 2


def test_other_tasks_of_slurm_than_the_config_says_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in slurm(3).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"expected 2 processes on each of 1 nodes.*=3"):
        open_fabric(2, 1, CPU)


@pytest.mark.skipif(sys.platform == "win32", reason="SLURM runs on Linux")
@pytest.mark.parametrize("array", [False, True])
def test_slurm_is_asked_to_requeue_the_job_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: bool
) -> None:
    log = tmp_path / "asked"
    command = tmp_path / "scontrol"
    command.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    job = {"SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": 77}
    if array:
        job |= {"SLURM_ARRAY_JOB_ID": 70, "SLURM_ARRAY_TASK_ID": 7}
    for name, value in job.items():
        monkeypatch.setenv(name, str(value))
    before = signal.getsignal(signal.SIGUSR1)
    # A second process of srun, and one that the first has started.
    for rank, local_rank in ((0, 0), (1, 0), (0, 1)):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        with launched(open_fabric(1, 1, CPU), 1, 1):
            os.kill(os.getpid(), signal.SIGUSR1)
    assert log.read_text() == ("requeue 70_7\n" if array else "requeue 77\n")
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.skipif(sys.platform == "win32", reason="SLURM runs on Linux")
def test_without_scontrol_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": 77, "PATH": ""}
    for name, value in job.items():
        monkeypatch.setenv(name, str(value))
    with launched(open_fabric(1, 1, CPU), 1, 1):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert "job 77 could not be requeued" in capsys.readouterr().err


DETECTOR = Detector(weights="none", proposals=40, loss="dice_ce", norm="frozen")
PARAMS = Train(epochs=1, batch_size=9, warmup_steps=0, gradient_clip=1.0, precision="32")


def files(folder: Path) -> dict[str, Path]:
    outputs = {"weights": "w.pt", "history": "h.csv", "manifest": "m.json", "checkpoints": "c"}
    return {name: folder / path for name, path in outputs.items()}


def training_process(
    paths: dict[str, Path], params: Train, script: ModuleType = small_training
) -> subprocess.Popen[str]:
    """Start a training of the small detector in a process of its own, as a rule does."""
    values = {
        "detector": DETECTOR.model_dump_json(),
        "params": params.model_dump_json(),
        "variant": Variant().model_dump_json(),
        "seed": 3,
        **paths,
    }
    flags = [f"--{name}={value}" for name, value in values.items()]
    command = [sys.executable, str(script.__file__), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="gloo needs another rendezvous there")
def test_two_processes_train_as_one_does(
    ellipses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is sampled at random and norms are frozen, to 1e-4 in each of four steps."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    outputs = {devices: files(tmp_path / str(devices)) for devices in (1, 2)}
    for devices, paths in outputs.items():
        params = PARAMS.model_copy(update={"devices": devices, "epochs": 4})
        everything = {**ellipses.paths(), **paths}
        with training_process(everything, params, script=every_region) as process:
            assert process.communicate(timeout=300) == ("", "")
            assert process.returncode == 0

    one, two = (schemas.read(schemas.HISTORY, outputs[n]["history"]) for n in (1, 2))
    losses = [name for name in one.columns if name.startswith("loss")]
    assert len(losses) == 5
    assert one["loss"].iloc[-1] < 0.96 * one["loss"].iloc[0]  # the steps change something
    for name in losses:
        assert two[name].tolist() == pytest.approx(one[name].tolist(), rel=1e-4), name
    first = build(DETECTOR, Variant(), size_px=64, pixel_mm=2.0, seed=3).state_dict()
    states = [torch.load(outputs[n]["weights"], weights_only=True) for n in (1, 2)]
    name = "roi_heads.box_predictor.cls_score.weight"
    steps = [(state[name] - first[name]).flatten() for state in states]
    assert torch.dist(*steps).item() < 1e-3 * steps[0].norm().item()
    for devices, paths in outputs.items():
        assert f'"world_size": {devices}' in paths["manifest"].read_text()
        assert not (paths["checkpoints"] / "last.ckpt").exists()


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_norms_that_train_are_shared_on_gpus_and_refused_on_cpus(accelerator: str) -> None:
    fabric = SimpleNamespace(world_size=2, device=torch.device(accelerator))
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    weight = network[1][0].weight
    if accelerator == "cpu":
        with pytest.raises(UserError, match="2 processes, and norms that train"):
            share_norms(network, fabric)
        fabric.world_size = 1
        share_norms(network, fabric)
        assert isinstance(network[1][0], nn.BatchNorm2d)
    else:
        share_norms(network, fabric)
        assert isinstance(network[1][0], nn.SyncBatchNorm)
        assert network[1][0].weight is weight  # which the optimiser is given


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process outright")
def test_sigterm_ends_both_processes_with_status_143_and_leaves_the_checkpoint(
    ellipses: Any, tmp_path: Path
) -> None:
    outputs = files(tmp_path)
    params = PARAMS.model_copy(update={"devices": 2, "epochs": 100_000})
    with training_process({**ellipses.paths(), **outputs}, params) as first:
        last, end = outputs["checkpoints"] / "last.ckpt", time.monotonic() + 100
        while not last.exists() and time.monotonic() < end and first.poll() is None:
            time.sleep(0.1)
        children = psutil.Process(first.pid).children()
        first.terminate()
        assert first.wait(timeout=60) == 143
    assert len(children) == 1
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert last.exists()
    assert not (outputs["checkpoints"] / "process").exists()
    assert not outputs["weights"].exists()
