"""The scratch project that the tests of one module share, and a cohort to be copied."""

import pytest
from support.scratch import Project, clone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A scratch project as a fresh clone is except for the tiny config."""
    return clone(tmp_path_factory.mktemp("scratch") / "project")


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A scratch project with the tiny config's cohort; test_workflow.py makes its own."""
    made = clone(tmp_path_factory.mktemp("phantom") / "project")
    made.succeed("dsnet", "phantom")
    return made
