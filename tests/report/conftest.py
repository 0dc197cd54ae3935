from pathlib import Path

import pytest
from support.made_results import Made, make

from dsnet.report.step import report


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a results folder that no test changes."""
    return make(tmp_path_factory.mktemp("made"), patients=30, images=6)


@pytest.fixture(scope="session")
def page(made: Made) -> Path:
    """Return the report on it."""
    path = made.config.results / "report.html"
    report(config=made.config, results=made.config.results, page=path)
    return path
