"""What the head looks at before a run, and the jobs on nodes do not: DVC and the cohort."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.scratch import Project, clone

pytestmark = pytest.mark.slow

CHANGED = "data/raw.dvc: expected the data that DVC recorded, but found a folder that has changed"
NOT_COMPARED = "dsnet: DVC did not compare the cohort with data/raw.dvc"
HEAD = ("snakemake", "-n", "results-own/cohort/index.parquet")
NODE = (*HEAD, "--mode", "remote", "--nolock", "--cores", "1")
"""How SLURM's jobs start Snakemake again."""

HOLD = """
import zc.lockfile
lock = zc.lockfile.LockFile(".dvc/tmp/lock")
print("held", flush=True)
input()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose cohort DVC has recorded; nothing reads these files."""
    made = clone(tmp_path / "project")
    raw = made.path / "data" / "raw"
    (raw / "dicom").mkdir(parents=True)
    (raw / "dicom" / "IM1").write_bytes(b"first")
    made.path.joinpath("config", "local.yaml").write_text(
        json.dumps({"cohort": "data/raw", "results": "results-own"})
    )
    made.succeed("dvc", "init", "--quiet", "--no-scm")
    made.succeed("dvc", "add", "--quiet", "data/raw")
    return made


@contextmanager
def lock_of_dvc(project: Project) -> Iterator[None]:
    """Hold DVC's lock as another of its commands does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=project.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        holder.communicate(b"\n")


def test_a_cold_cache_is_no_change(project: Project) -> None:
    assert "dsnet:" not in project.succeed(*HEAD)
    (project.path / ".dvc" / "cache").rename(project.path / "cold")
    assert "dsnet:" not in project.succeed(*HEAD)
    (project.path / "data" / "raw" / "dicom" / "IM1").write_bytes(b"FIRST")
    assert CHANGED in project.run(*HEAD).stdout
    (project.path / "cold").rename(project.path / ".dvc" / "cache")
    assert CHANGED in project.run(*HEAD).stdout


def test_the_head_goes_on_where_dvc_says_nothing(project: Project) -> None:
    with lock_of_dvc(project):
        assert NOT_COMPARED in project.succeed(*HEAD)
    (project.path / ".dvc").rename(project.path / "elsewhere")  # as in a copy of the files alone
    assert NOT_COMPARED in project.succeed(*HEAD)


def test_nodes_ask_neither_dvc_nor_for_the_cohorts_fingerprint(project: Project) -> None:
    project = replace(project, forks=False)  # which would have imported DVC itself
    asked = project.path / "asked"
    (project.path / "dvc.py").write_text("open('asked', 'w').close()\n")  # in DVC's place
    project.succeed(*HEAD)
    assert asked.exists()
    asked.unlink()
    with (project.path / "dsnet" / "cohort" / "folder.py").open("a") as source:
        source.write("\n\nCohortFolder.fingerprint = None\n")
    assert "object is not callable" in project.run(*HEAD).stdout
    assert "dsnet:" not in project.succeed(*NODE)
    assert not asked.exists()


def test_nodes_plan_their_job_without_the_cohort(project: Project) -> None:
    (project.path / "data" / "raw").rename(project.path / "elsewhere")
    assert "dsnet:" not in project.succeed(*NODE)
    assert "expected a cohort folder" in project.run(*HEAD).stdout
