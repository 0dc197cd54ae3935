"""The scratch project that the tests of one module share."""

import shutil

import pytest
from scratch import Project, clone


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A scratch project whose cohort is a copy of the phantom, at a user's place."""
    project = clone(tmp_path_factory.mktemp("workflow") / "project")
    project.succeed("snakemake", "--cores", "2", "data/phantom/cohort.json")
    shutil.move(project.path / "data" / "phantom", project.path / "data" / "hospital")
    config = project.path / "config" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("cohort: data/phantom", "cohort: data/hospital"), "utf-8")
    return project
