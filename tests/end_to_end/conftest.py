"""The scratch project that the tests of one module share."""

import pytest
from support.scratch import Project, clone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A scratch project as a fresh clone is except for the tiny config."""
    return clone(tmp_path_factory.mktemp("scratch") / "project")
