"""The workflow on a real SLURM on this machine: run by ``make cluster-test``, as root."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from support import every_region, small_training
from support.scratch import Project, clone
from support.slurm import Cluster, missing_programs

from dsnet.config.detector import Detector, Train, Variant
from dsnet.processes import cpus

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("DSNET_CLUSTER_TEST" not in os.environ, reason="make cluster-test runs it"),
]

TABLE = "results/table1.csv"
HEAD = ("snakemake", TABLE, "--profile", "profiles/slurm", "--quiet", "rules")
CHECKPOINTS = "results/checkpoints/resnet50"
RUN_S, CHECKPOINT_S = 1800.0, 900.0
EPOCHS = 2


class Background:
    """A command of a project that runs beside the test, and ends with it."""

    def __init__(self, project: Project, command: Sequence[str], **values: str) -> None:
        self.project, self.log = project, project.path / "head.log"
        values = {
            **os.environ,
            "PYTHONPATH": str(project.path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **values,
        }
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=project.path,
                env=values,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        assert self.process.wait(RUN_S) == 0, self.log.read_text()[-6000:]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    assert not missing_programs(), "apt-get install slurm-wlm slurmdbd munge mariadb-server"
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def project(folder: Path) -> Project:
    """Return a scratch project in miniature whose trainings can be interrupted."""
    made = clone(folder)
    config = made.path / "config" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["detector"] |= {"trainable_layers": 0}
    settings["train"] |= {"epochs": EPOCHS, "batch_size": 16}
    settings["split"] = {"test_fraction": 0.4, "validation_fraction": 0.2}
    config.write_text(yaml.safe_dump(settings))
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """A run on this machine without SLURM, beside that on SLURM.

    Its detectors have as many threads as there: to the last bit, sums depend on that.
    """
    local = project(tmp_path_factory.mktemp("local") / "project")
    threads = ("--set-threads", f"train={cpus()}", f"predict={cpus()}")
    with Background(local, ("snakemake", "--cores", str(cpus()), TABLE, *threads)) as run:
        yield run


def environment(cluster: Cluster, shared: Project) -> dict[str, str]:
    """Return what Snakemake needs: the cluster, and the package of the project itself."""
    paths = [str(shared.path), os.environ.get("PYTHONPATH", "")]
    return {
        "SLURM_CONF": cluster.environment["SLURM_CONF"],
        "MASTER_ADDR": "127.0.0.1",  # no name server knows n0 and n1
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def saved_epochs(project: Project) -> dict[str, Path]:
    """Return the folder of each training that has a checkpoint now, by its attention."""
    found = (project.path / CHECKPOINTS).glob("*/seed0/last.ckpt")
    return {path.parent.parent.name: path.parent for path in found}


def wait_for_checkpoint(head: Background, known: Collection[str]) -> tuple[str, Path]:
    """Return attention and folder of a training as soon as its first epoch is saved.

    None of the `known` ones. Which trainings come first is SLURM's choice.
    """
    end = time.monotonic() + CHECKPOINT_S
    while True:
        assert head.process.poll() is None, head.log.read_text()[-6000:]
        assert time.monotonic() < end, f"no other checkpoint in {CHECKPOINT_S:.0f} s"
        for attention, folder in saved_epochs(head.project).items():
            if attention not in known:
                return attention, folder
        time.sleep(0.05)


def wait_for(path: Path, log: Path) -> None:
    """Wait until a job has written a file."""
    end = time.monotonic() + CHECKPOINT_S
    while not path.exists():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def job_of(cluster: Cluster, attention: str) -> str:
    """Return the running job that trains with `attention`."""
    lines = cluster.ask("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines()
    (job,) = [
        line.split()[0] for line in lines if "rule_train" in line and f"_{attention}_" in line
    ]
    return job


def first_seconds(folder: Path) -> float:
    """Return how long the first epoch took, by the checkpoint."""
    state = torch.load(folder / "last.ckpt", weights_only=True)
    return float(state["history"][0]["seconds"])


def let_its_time_end(cluster: Cluster, job: str, process: int) -> None:
    """Leave the job one to two minutes, and hold the training still until SLURM's signal is there.

    SLURM looks at limits twice a minute.
    """
    os.kill(process, signal.SIGSTOP)
    try:
        ran = cluster.ask("squeue", "--noheader", f"--jobs={job}", "--format=%M").split(":")
        minutes = sum(int(n) * 60**power for power, n in enumerate(reversed(ran[:-1])))
        cluster.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes + 2}")
        end, bit = time.monotonic() + 120, 1 << (signal.SIGUSR1 - 1)
        while not any(mask & bit for mask in waiting_signals(process)):
            assert time.monotonic() < end, "SLURM has sent no SIGUSR1"
            time.sleep(0.2)
    except ProcessLookupError:  # SLURM continued it, and it has put itself back into the queue
        return
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def waiting_signals(process: int) -> list[int]:
    """Return the masks of the signals that wait for a stopped process."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(process) from None
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)$", status, re.MULTILINE)
    return [int(mask, 16) for mask in masks]


def wait_for_requeue(cluster: Cluster, job: str) -> None:
    """Wait until the job is in the queue again, and give it its time back."""
    end = time.monotonic() + 120
    while cluster.ask("squeue", "--noheader", f"--jobs={job}", "--format=%T") != "PENDING":
        assert time.monotonic() < end, cluster.ask("squeue")
        time.sleep(0.2)
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=720")


def test_trainings_that_slurm_ends_go_on_to_the_same_table(
    cluster: Cluster, undisturbed: Background, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = project(tmp_path_factory.mktemp("shared") / "project")
    taken = {}
    with Background(shared, HEAD, **environment(cluster, shared)) as head:
        try:
            cancelled, folder = wait_for_checkpoint(head, ())
            taken[cancelled] = first_seconds(folder)
            cluster.ask("scancel", job_of(cluster, cancelled))
            # One that has saved an epoch by now may have ended before it is held still.
            stopped, folder = wait_for_checkpoint(head, {cancelled, *saved_epochs(shared)})
            taken[stopped] = first_seconds(folder)
            job = job_of(cluster, stopped)
            let_its_time_end(cluster, job, int((folder / "process").read_text().split()[1]))
            wait_for_requeue(cluster, job)
            head.finish()
            states = cluster.ask("sacct", "--duplicates", "-X", "--noheader", "--format=State%20")
            assert "CANCELLED" in states
            assert "REQUEUED" in states
        finally:
            print(head.log.read_text()[-3000:])
            columns = "JobID,State%12,ElapsedRaw,NodeList%6,Comment%50"
            print(cluster.ask("sacct", "--duplicates", "-X", f"--format={columns}", check=False))
    undisturbed.finish()

    for attention, seconds in taken.items():
        history = pd.read_csv(
            shared.path / f"results/models/resnet50/{attention}/seed0/history.csv"
        )
        assert len(history) == EPOCHS
        assert history["seconds"][0] == seconds  # the first epoch was not trained again
    for attention in ("none", "se", "sk", "ds"):
        name = f"results/models/resnet50/{attention}/seed0/weights.pt"
        alone, slurm = (
            torch.load(one.path / name, weights_only=True) for one in (undisturbed.project, shared)
        )
        assert alone.keys() == slurm.keys()
        assert all(torch.equal(alone[tensor], slurm[tensor]) for tensor in alone)  # to the last bit
    tables = [pd.read_csv(one.path / TABLE) for one in (undisturbed.project, shared)]
    timed = [name for name in tables[0].columns if name.startswith(("fps", "ms_"))]
    assert timed
    first, second = (table.drop(columns=timed) for table in tables)
    pd.testing.assert_frame_equal(first, second)
    print((shared.path / "results/benchmarks.csv").read_text())
    assert "Nothing to be done" in shared.succeed("snakemake", "-n", "--cores", "2", TABLE)


def test_a_training_whose_time_ends_goes_back_into_the_queue_and_on(
    cluster: Cluster, ellipses: Any, tmp_path: Path
) -> None:
    values = {
        "detector": Detector(weights="none", proposals=40).model_dump_json(),
        "params": Train(epochs=40, batch_size=9, warmup_steps=0).model_dump_json(),
        "variant": Variant().model_dump_json(),
        "seed": 3,
        **ellipses.paths(),
        "weights": tmp_path / "w.pt",
        "history": tmp_path / "h.csv",
        "manifest": tmp_path / "m.json",
        "checkpoints": tmp_path,
    }
    flags = [f"--{name}={value}" for name, value in values.items()]
    command = ["srun", "-n1", sys.executable, str(small_training.__file__), *flags]
    options = ["--time=30", "--signal=USR1@120", "--requeue", f"--output={tmp_path / 'log'}"]
    wrapped = f"--wrap={shlex.join(command)}"
    job = cluster.ask("sbatch", "--parsable", "--mem=2000", *options, wrapped)
    wait_for(tmp_path / "last.ckpt", tmp_path / "log")
    let_its_time_end(cluster, job, int((tmp_path / "process").read_text().split()[1]))
    wait_for_requeue(cluster, job)
    taken = first_seconds(tmp_path)
    wait_for(tmp_path / "m.json", tmp_path / "log")
    history = pd.read_csv(tmp_path / "h.csv")
    assert len(history) == 40
    assert history["seconds"][0] == taken
    columns = ("--duplicates", "-X", "--noheader", "--format=State%12,ElapsedRaw,ExitCode")
    states = cluster.ask("sacct", f"--jobs={job}", *columns)
    print(states)
    assert "REQUEUED" in states


@pytest.mark.parametrize(("nodes", "devices"), [(2, 1), (1, 2)])
def test_two_processes_under_srun_train_as_one_does(
    cluster: Cluster, ellipses: Any, tmp_path: Path, nodes: int, devices: int
) -> None:
    """As tests/train/test_train_launch.py asks of two processes without SLURM."""
    losses = []
    for name, (on, each) in {"one": (1, 1), "two": (nodes, devices)}.items():
        params = Train(epochs=4, batch_size=9, warmup_steps=0, gradient_clip=1.0, precision="32")
        parts = {"weights": "w.pt", "history": "h.csv", "manifest": "m.json", "checkpoints": "c"}
        values = {
            "detector": Detector(
                weights="none", proposals=40, loss="dice_ce", norm="frozen"
            ).model_dump_json(),
            "params": params.model_copy(update={"nodes": on, "devices": each}).model_dump_json(),
            "variant": Variant().model_dump_json(),
            "seed": 3,
            **ellipses.paths(),
            **{key: tmp_path / name / part for key, part in parts.items()},
        }
        flags = [f"--{key}={value}" for key, value in values.items()]
        task = ["srun", f"--ntasks={on}", sys.executable, str(every_region.__file__), *flags]
        options = [f"--nodes={on}", "--ntasks-per-node=1", f"--output={tmp_path / name}.log"]
        environment = {"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": str(Path(__file__).parents[1])}
        exported = ",".join(["ALL", *(f"{key}={value}" for key, value in environment.items())])
        wrapped = [f"--export={exported}", f"--wrap={shlex.join(task)}"]
        cluster.ask("sbatch", "--mem=2000", "--time=10", *options, *wrapped)
        wait_for(tmp_path / name / "m.json", tmp_path / f"{name}.log")
        manifest = json.loads((tmp_path / name / "m.json").read_text())
        assert manifest["machine"]["world_size"] == on * each
        losses.append(pd.read_csv(tmp_path / name / "h.csv").filter(like="loss"))
    one, two = losses
    assert len(one.columns) == 5
    assert two.to_numpy() == pytest.approx(one.to_numpy(), rel=1e-4)


@pytest.fixture(scope="module")
def shared_slices(undisturbed: Background, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose slices are stored, with other results than the undisturbed run."""
    undisturbed.finish()
    folder = tmp_path_factory.mktemp("together") / "project"
    shutil.copytree(undisturbed.project.path, folder)
    return Project(folder)


@pytest.mark.parametrize(("nodes", "devices"), [(2, 1), (1, 2)])
def test_two_processes_are_started_and_the_manifest_has_what_ran(
    cluster: Cluster, shared_slices: Project, nodes: int, devices: int
) -> None:
    weights = "results/models/resnet50/none/seed0/weights.pt"
    config = shared_slices.path / "together.yaml"
    settings = {
        "detector": {"norm": "frozen"},  # norms that train are refused on CPUs
        "train": {"nodes": nodes, "devices": devices, "learning_rate": 1e-4, "gradient_clip": 1},
    }
    config.write_text(json.dumps(settings))
    printed = shared_slices.succeed(
        *("timeout", "--signal=INT", "900", "snakemake", weights, "--profile", "profiles/slurm"),
        *("--configfile", "config/config.yaml", "together.yaml"),
        **environment(cluster, shared_slices),
    )
    print(printed[-2000:])
    manifest = shared_slices.json(str(Path(weights).with_name("manifest.json")))
    used = {name: manifest["machine"][name] for name in ("world_size", "nodes", "devices")}
    assert used == {"world_size": 2, "nodes": nodes, "devices": devices}
