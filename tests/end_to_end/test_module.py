"""The workflow as a module of another one, in another folder."""

import shutil
from pathlib import Path

import pytest
from support.scratch import ROOT, Project

pytestmark = pytest.mark.end_to_end

SNAKEFILE = """
configfile: "own.yaml"


module dsnet:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from dsnet as dsnet_*


rule first:
    default_target: True
    input:
        "results/cohort/slices.json",
        "results/predictions/ground_truth.json",
"""


def test_the_rules_run_from_another_folder(tmp_path: Path) -> None:
    snakefile = (ROOT / "Snakefile").as_posix()
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile), encoding="utf-8")
    shutil.copy2(ROOT / "config" / "tiny.yaml", tmp_path / "own.yaml")
    # Bare interpreters: a step must import all that it needs.
    project = Project(tmp_path, package=ROOT, forks=False)
    printed = project.succeed("snakemake", "--cores", "1")
    assert "dsnet_slices" in printed
    assert (tmp_path / "results/predictions/ground_truth.json").exists()
    assert "Nothing to be done" in project.succeed("snakemake", "-n")
