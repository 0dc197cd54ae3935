"""The same through DVC, in a scratch repository with a local remote."""

import csv
import shutil
from pathlib import Path

import pytest
from support.scratch import ROOT, Project, use_small_detector

pytestmark = pytest.mark.end_to_end

TABLE = "results-own/table1.csv"
STAGE = "own/dvc.yaml:pipeline"
BOUNDS = ("", "_low", "_high")
NOT_REPLAYED = {"dsnet check --show-private", "dvc repro own/dvc.yaml:all"}
"""The one needs a terminal; the other trains six more detectors, as CI does."""


@pytest.fixture(scope="module")
def repository(project: Project, phantom: Project) -> Project:
    """A user's own data under DVC, as docs/dvc.md says, and everything made from it.

    By a detector of a few convolutions: DVC and Snakemake do the same with any.
    """
    use_small_detector(project)
    project.succeed("git", "init", "--quiet")
    project.succeed("dvc", "init", "--quiet")
    for name, value in (("core.analytics", "false"), ("cache.type", "reflink,copy")):
        project.succeed("dvc", "config", name, value)
    remote = project.path.with_name("remote")
    project.succeed("dvc", "remote", "add", "--default", "local", str(remote))
    project.succeed("git", "add", "--all")
    project.succeed("git", "commit", "--quiet", "--message", "the project")
    fill_own_cohort(project, phantom)
    for command in documented("The first day"):
        if command not in NOT_REPLAYED:
            project.succeed("bash", "-c", command)
    return project


def test_repro_makes_the_table_and_snakemake_agrees(repository: Project) -> None:
    assert (repository.path / TABLE).exists()
    assert "Nothing to be done" in repository.succeed("snakemake", "-n", TABLE)
    assert "up to date" in repository.succeed("dvc", "status", STAGE)


def test_the_demo_is_not_made_beside_an_own_cohort(repository: Project) -> None:
    assert not (repository.path / "data" / "phantom").exists()
    changed = repository.succeed("git", "status", "--porcelain", "--untracked-files=no")
    assert "config/" not in changed
    assert "dvc.yaml" not in changed
    refused = repository.run("dvc", "repro")
    assert refused.returncode != 0
    assert "run dvc repro own/dvc.yaml" in refused.stdout
    assert not (repository.path / "data" / "phantom").exists()


def test_metrics_are_a_small_table_and_plots_show_curves(repository: Project) -> None:
    detectors = ("none", "se", "sk", "ds")
    own = [f"results-own/recorded/resnet50_{name}.json" for name in detectors]
    metrics, plots, _ = documented("What DVC keeps")
    printed = repository.succeed("bash", "-c", f"{metrics} --md")
    header, _, *rows = [line for line in printed.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    measures = {f"{name}{end}" for name in ("map", "recall", "accuracy") for end in BOUNDS}
    # DVC leaves out what is undefined, as the bounds of a map of so few boxes may be.
    assert {"Path", "map", "recall", "recall_low"} <= set(columns) <= {"Path", *measures}
    assert [path for path in own if any(path in row for row in rows)] == own
    assert len(rows) == len(own)
    repository.succeed("bash", "-c", plots)
    page = (repository.path / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    for name in ("learning", "precision_recall", "calibration"):
        assert name in page
    assert all(f"resnet50_{name}" in page for name in detectors)


def test_statistics_settings_time_no_detector_again(repository: Project) -> None:
    (repository.path / "more.yaml").write_text("evaluate: {bootstrap: 101}\n", encoding="utf-8")
    printed = repository.succeed("snakemake", "-n", TABLE, "--configfile", "more.yaml")
    assert "rule evaluate:" in printed
    assert "rule speed:" not in printed
    assert "dsnet: trainings" not in printed


def test_an_experiment_sets_keys_of_the_own_config(repository: Project) -> None:
    local = repository.path / "config" / "local.yaml"
    before = local.read_bytes()
    repository.succeed("git", "add", "--all")
    repository.succeed("git", "commit", "--quiet", "--message", "own cohort")
    printed = repository.succeed("bash", "-c", documented("What DVC keeps")[2])
    assert "rule evaluate" in printed
    assert "rule train" not in printed
    assert "score: 0.4" in local.read_text(encoding="utf-8")
    local.write_bytes(before)
    repository.succeed("dvc", "repro", STAGE)


def test_push_and_pull_bring_the_results_to_a_clone(repository: Project, tmp_path: Path) -> None:
    repository.succeed("dvc", "push", "--quiet")
    repository.succeed("git", "add", "--all")
    repository.succeed("git", "commit", "--quiet", "--allow-empty", "--message", "results")
    repository.succeed("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    pulled = Project(tmp_path / "clone")
    pulled.succeed("dvc", "pull", "--quiet", "data/raw.dvc", STAGE)
    assert (pulled.path / TABLE).read_bytes() == (repository.path / TABLE).read_bytes()
    pulled.succeed("dsnet", "adopt")
    assert "Nothing to be done" in pulled.succeed("snakemake", "-n", TABLE)


def test_results_alone_are_adopted_and_the_cohort_is_known_again(
    repository: Project, tmp_path: Path
) -> None:
    repository.succeed("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    pulled = Project(tmp_path / "clone")
    pulled.succeed("dvc", "pull", "--quiet", STAGE)
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
    # A report is written into an ignored folder alone.
    pulled.succeed("dsnet", "report")
    assert pulled.succeed("git", "status", "--porcelain", "--", "results-own") == ""


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
    planned = repository.succeed("snakemake", "-n", TABLE)
    assert "rule train:" in planned
    assert planned.rstrip().splitlines()[-1].startswith("dsnet: trainings and what follows")
    weights = sorted((repository.path / "results-own" / "models").rglob("weights.pt"))
    before = [path.stat().st_mtime_ns for path in weights]
    printed = repository.succeed("dvc", "repro", STAGE)
    assert "rule exclude" in printed
    assert "rule train" not in printed
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_cohort_folder_that_is_gone_keeps_its_index(repository: Project) -> None:
    raw = repository.path / "data" / "raw"
    raw.rename(raw.with_name("moved"))
    stopped = repository.run("snakemake", "--cores", "1", TABLE)
    raw.with_name("moved").rename(raw)
    assert stopped.returncode != 0
    last = stopped.stdout.rstrip().splitlines()[-1]
    assert last.startswith("dsnet: config key cohort: expected a cohort folder, but found a path")
    assert "Nothing to be done" in repository.succeed("snakemake", "-n", TABLE)


def documented(heading: str) -> list[str]:
    """Return the commands of the first console block below a heading of docs/dvc.md."""
    page = (ROOT / "docs" / "dvc.md").read_text(encoding="utf-8")
    block = page.partition(f"## {heading}\n")[2].partition("```console\n")[2].partition("```")[0]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def fill_own_cohort(repository: Project, phantom: Project) -> None:
    """Put a cohort where `dsnet init` will find it."""
    made, data = phantom.path / "data", repository.path / "data"
    shutil.copytree(made / "phantom", data / "raw")
    shutil.copy2(made / "phantom-answers.json", data)


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
