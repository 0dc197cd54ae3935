"""The scratch project that the tests of one module share, and a cohort to be copied."""

from pathlib import Path

import pytest
from filelock import FileLock
from support.scratch import Project, clone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A scratch project as a fresh clone is except for the tiny config."""
    return clone(tmp_path_factory.mktemp("scratch") / "project")


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A scratch project with the tiny config's cohort; test_workflow.py makes its own.

    The first worker that wants it makes it for all.
    """
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    path = folder / "phantom" / "project"
    with FileLock(folder / "phantom.lock"):
        if path.exists():
            return Project(path)
        unfinished = clone(Path(f"{path}-unfinished"))
        unfinished.succeed("dsnet", "phantom")
        unfinished.path.rename(path)
    return Project(path)
