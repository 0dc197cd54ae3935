"""What the workflow asks a cluster for: dry runs through the profile, without SLURM."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest
from support.scratch import ROOT, Project, clone

from dsnet.processes import has_gpu

pytestmark = pytest.mark.slow

needs_executor = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="the extra `cluster` is not installed",
)
TRAINED = "results/models/resnet50/none/seed0/weights.pt"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return clone(tmp_path_factory.mktemp("scratch") / "project")


def plan(project: Project, *arguments: str, **environment: str) -> dict[str, dict[str, str]]:
    """Return threads and resources of each rule that a dry run would run."""
    environment["PYTHONPATH"] = f"{project.path}:{':'.join(sys.path[1:])}"
    printed = project.succeed("snakemake", "-n", *arguments, **environment)
    rules = {}
    for block in re.split(r"^ *(?:rule|checkpoint) ", printed, flags=re.MULTILINE)[1:]:
        threads = re.search(r"^ +threads: (\d+)$", block, re.MULTILINE)
        resources = re.search(r"^ +resources: (.*)$", block, re.MULTILINE)
        assert resources, block
        values = dict(one.split("=", 1) for one in resources[1].split(", ") if "=" in one)
        rules[block.split(":")[0]] = {"threads": threads[1] if threads else "1", **values}
    return rules


@needs_executor
def test_every_job_asks_for_memory_and_time_and_trainings_for_a_gpu(shared: Project) -> None:
    rules = plan(shared, "results/table1.csv", "--profile", "profiles/slurm")
    assert {"ingest", "match", "slices", "train", "predict", "evaluate", "speed"} <= set(rules)
    for name, asked in rules.items():
        assert int(asked["mem_mb"]) >= 4000, name
        assert int(asked["runtime"]) >= 60, name
        assert int(asked["threads"]) <= 16, name
    assert rules["train"]["threads"] == rules["speed"]["threads"]  # a GPU's job has its cores
    assert [name for name, asked in sorted(rules.items()) if asked.get("gpu") == "1"] == [
        "predict",
        "speed",
        "train",
    ]
    assert rules["train"]["slurm_extra"] == "--signal=USR1@120"
    assert rules["speed"]["slurm_extra"] == "--exclusive"


@needs_executor
def test_processes_on_several_nodes_are_started_by_srun(shared: Project) -> None:
    (shared.path / "two.yaml").write_text(json.dumps({"train": {"nodes": 2, "devices": 4}}))
    configs = ("--configfile", "config/config.yaml", "two.yaml")
    printed = shared.succeed(
        *("snakemake", "-n", "-p", TRAINED, "--profile", "profiles/slurm", *configs),
        PYTHONPATH=f"{shared.path}:{':'.join(sys.path[1:])}",
    )
    assert "srun --nodes=2 --ntasks-per-node=4 --cpu-bind=none --kill-on-bad-exit=1" in printed
    train = plan(shared, TRAINED, "--profile", "profiles/slurm", *configs)["train"]
    asked = {name: train.get(name) for name in ("gpu", "nodes", "tasks", "tasks_per_gpu", "mpi")}
    assert asked == {"gpu": "8", "nodes": "2", "tasks": "8", "tasks_per_gpu": "0", "mpi": "srun"}
    (shared.path / "one.yaml").write_text(json.dumps({"train": {"devices": 4}}))
    configs = ("--configfile", "config/config.yaml", "one.yaml")
    train = plan(shared, TRAINED, "--profile", "profiles/slurm", *configs)["train"]
    assert (train["gpu"], train["nodes"]) == ("4", "1")  # or SLURM spreads them over nodes


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the driver is a shell script")
def test_two_trainings_share_the_cores_where_there_is_no_gpu(
    shared: Project, tmp_path: Path
) -> None:
    rules = plan(shared, "results/table1.csv", "--cores", "6")
    assert rules["speed"]["threads"] == "6"  # it times, so nothing else may run
    assert rules["train"]["threads"] == ("6" if has_gpu() else "3")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with_driver = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert plan(shared, TRAINED, "--cores", "6", PATH=with_driver)["train"]["threads"] == "6"


def test_several_nodes_without_a_cluster_are_refused_before_anything_runs(shared: Project) -> None:
    (shared.path / "two.yaml").write_text(json.dumps({"train": {"nodes": 2}}))
    refused = shared.run(
        *("snakemake", TRAINED, "--cores", "2", "--configfile", "config/config.yaml", "two.yaml")
    )
    assert refused.returncode == 1
    assert "config train.nodes: expected 1 on one machine, but found 2; run" in refused.stdout
    assert not (shared.path / "data" / "phantom").exists()


STORE = """
from snakemake_interface_storage_plugins.storage_object import StorageObjectRead, StorageObjectWrite
from snakemake_interface_storage_plugins.storage_provider import StorageProviderBase


class StorageObject(StorageObjectRead, StorageObjectWrite):
    pass


class StorageProvider(StorageProviderBase):
    def __init__(self, *_, **__):
        pass


StorageProvider.__abstractmethods__ = frozenset()
"""


def test_an_object_store_for_every_file_is_refused(shared: Project) -> None:
    plugin = shared.path / "snakemake_storage_plugin_store"
    plugin.mkdir()
    (plugin / "__init__.py").write_text(STORE)
    refused = shared.run(
        *("snakemake", "-n", TRAINED, "--default-storage-provider", "store"),
        *("--default-storage-prefix", "store://bucket"),
    )
    assert refused.returncode == 1
    assert "option --default-storage-provider: expected none, since" in refused.stdout


@needs_executor
def test_a_cluster_needs_no_number_of_cores(shared: Project, tmp_path: Path) -> None:
    """Only the parsing is looked at: sbatch refuses the first job, also where there is SLURM."""
    (tmp_path / "sbatch").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    printed = shared.run(
        *("snakemake", "--executor", "slurm", "--jobs", "4", TRAINED, "--retries", "0"),
        "--slurm-init-seconds-before-status-checks=1",
        PYTHONPATH=f"{shared.path}:{':'.join(sys.path[1:])}",
        PATH=f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
    ).stdout
    assert "number of processor cores" not in printed
    assert re.search(r"^phantom +1$", printed, re.MULTILINE), printed


def test_every_rule_that_runs_a_step_is_benchmarked() -> None:
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        rules = re.split(r"^(?:use rule|rule|checkpoint) ", path.read_text(), flags=re.MULTILINE)
        for rule in rules[1:]:
            if "    log:" in rule:
                assert "    benchmark:" in rule, f"{path.name}: {rule.splitlines()[0]}"
