from pathlib import Path

import pytest
from support.made_results import Made, make

from dsnet.report.step import report_on


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a results folder that no test changes."""
    return make(tmp_path_factory.mktemp("made"), patients=30, images=6)


@pytest.fixture(scope="session")
def page(made: Made) -> Path:
    """Return the report on it."""
    return report_on(made.config)
