"""The same through DVC, in a scratch repository with a local remote."""

import csv
import shutil
from pathlib import Path

import pytest
from support.scratch import Project

pytestmark = pytest.mark.end_to_end

TABLE = "results-raw/table1.csv"


@pytest.fixture(scope="module")
def repository(project: Project) -> Project:
    """A user's own data under DVC, as the README says, and everything made from it."""
    project.succeed("git", "init", "--quiet")
    project.succeed("dvc", "init", "--quiet")
    for name, value in (("core.analytics", "false"), ("cache.type", "reflink,copy")):
        project.succeed("dvc", "config", name, value)
    remote = project.path.with_name("remote")
    project.succeed("dvc", "remote", "add", "--default", "local", str(remote))
    project.succeed("dvc", "repro", "phantom")
    assert "Nothing to be done" in project.succeed("snakemake", "-n", "data/phantom/cohort.json")
    use_own_cohort(project)
    project.succeed("dvc", "repro")
    return project


def test_repro_makes_the_table_and_snakemake_agrees(repository: Project) -> None:
    assert (repository.path / TABLE).exists()
    assert "Nothing to be done" in repository.succeed("snakemake", "-n", TABLE)
    assert "up to date" in repository.succeed("dvc", "status")
    assert "resnet50" in repository.succeed("dvc", "metrics", "show", "--json")


def test_push_and_pull_bring_the_results_to_a_clone(repository: Project, tmp_path: Path) -> None:
    repository.succeed("dvc", "push", "--quiet")
    repository.succeed("git", "add", "--all")
    repository.succeed("git", "commit", "--quiet", "--message", "results")
    repository.succeed("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    pulled = Project(tmp_path / "clone")
    pulled.succeed("dvc", "pull", "--quiet")
    assert (pulled.path / TABLE).read_bytes() == (repository.path / TABLE).read_bytes()
    pulled.succeed("dsnet", "adopt")
    assert "Nothing to be done" in pulled.succeed("snakemake", "-n", TABLE)


def test_results_alone_are_adopted_and_the_cohort_is_known_again(
    repository: Project, tmp_path: Path
) -> None:
    repository.succeed("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    pulled = Project(tmp_path / "clone")
    pulled.succeed("dvc", "pull", "--quiet", "pipeline")
    assert not (pulled.path / "data" / "raw").exists()
    pulled.succeed("dsnet", "adopt")
    assert "Nothing to be done" in pulled.succeed("snakemake", "-n", TABLE)
    assert "resnet50" not in pulled.succeed("dsnet", "audit")
    refused = pulled.run("dsnet", "deidentify")
    assert refused.returncode == 1
    # Key, map and raw data come back from a backup, the raw data into another folder.
    shutil.copytree(repository.path / "data" / "private", pulled.path / "data" / "private")
    elsewhere = pulled.path / "restored" / "cohort"
    shutil.copytree(repository.path / "data" / "raw", elsewhere)
    pulled.succeed("dsnet", "deidentify", "--cohort", str(elsewhere))
    patient = an_excluded_patient(repository)
    assert "no_dxa" in pulled.succeed("dsnet", "audit", "--patient", patient)


def test_a_change_of_the_data_needs_repro_which_runs_what_is_due(repository: Project) -> None:
    patient = an_excluded_patient(repository)
    clinical = repository.path / "data" / "raw" / "clinical.csv"
    rows = clinical.read_text(encoding="utf-8").splitlines()
    rows = [mark_tumour(rows[0], row) if row.split(",")[0] == patient else row for row in rows]
    clinical.write_text("\n".join(rows) + "\n", encoding="utf-8")

    stale = repository.run("snakemake", "-n", TABLE)
    assert stale.returncode != 0
    assert "dvc repro" in stale.stdout
    assert "Traceback" not in stale.stdout

    repository.succeed("dvc", "add", "--quiet", "data/raw")
    weights = sorted((repository.path / "results-raw" / "models").rglob("weights.pt"))
    before = [path.stat().st_mtime_ns for path in weights]
    printed = repository.succeed("dvc", "repro")
    assert "rule exclude" in printed
    assert "rule train" not in printed
    assert [path.stat().st_mtime_ns for path in weights] == before


def use_own_cohort(repository: Project) -> None:
    """Do what the README says: one folder, `dvc add`, and the keys `cohort` and `results`."""
    shutil.copytree(repository.path / "data" / "phantom", repository.path / "data" / "raw")
    config = repository.path / "config" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    text = text.replace("cohort: data/phantom", "cohort: data/raw")
    config.write_text(text.replace("results: results", "results: results-raw"), encoding="utf-8")
    repository.succeed("dvc", "add", "--quiet", "data/raw")


def an_excluded_patient(repository: Project) -> str:
    """Return the hospital ID of a patient who is out for having no DXA."""
    answers = repository.json("data/phantom-answers.json")
    return next(
        str(case["patient_id"]) for case in answers["planted"] if case["criterion"] == "no_dxa"
    )


def mark_tumour(header: str, row: str) -> str:
    """Return a row of clinical.csv with a tumour in it."""
    cells = row.split(",")
    cells[next(csv.reader([header])).index("tumour")] = "yes"
    return ",".join(cells)
