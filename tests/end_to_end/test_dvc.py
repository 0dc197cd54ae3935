"""The same through DVC, in a scratch repository with a local remote."""

import csv
import shutil
from pathlib import Path

import pytest
from scratch import Project, clone

pytestmark = pytest.mark.end_to_end

TABLE = "results/table1.csv"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The demo as a fresh clone makes it when `dvc repro` is the first command."""
    folder = tmp_path_factory.mktemp("dvc")
    project = clone(folder / "project")
    project.succeed("git", "init", "--quiet")
    project.succeed("dvc", "init", "--quiet")
    for name, value in (("core.analytics", "false"), ("cache.type", "reflink,copy")):
        project.succeed("dvc", "config", name, value)
    project.succeed("dvc", "remote", "add", "--default", "local", str(folder / "remote"))
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


def test_own_data_under_dvc(repository: Project) -> None:
    use_own_cohort(repository)
    repository.succeed("dvc", "repro")
    table = "results-raw/table1.csv"
    assert (repository.path / table).exists()
    assert "Nothing to be done" in repository.succeed("snakemake", "-n", table)

    patient = an_excluded_patient(repository)
    clinical = repository.path / "data" / "raw" / "clinical.csv"
    rows = clinical.read_text(encoding="utf-8").splitlines()
    rows = [mark_tumour(rows[0], row) if row.split(",")[0] == patient else row for row in rows]
    clinical.write_text("\n".join(rows) + "\n", encoding="utf-8")

    stale = repository.run("snakemake", "-n", table)
    assert stale.returncode != 0
    assert "dvc repro" in stale.stdout
    assert "Traceback" not in stale.stdout

    repository.succeed("dvc", "add", "--quiet", "data/raw")
    before = (repository.path / "results-raw/models").stat().st_mtime_ns
    printed = repository.succeed("dvc", "repro")
    assert "rule exclude" in printed
    assert "rule train" not in printed
    assert (repository.path / "results-raw/models").stat().st_mtime_ns == before


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
