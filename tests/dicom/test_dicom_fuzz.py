"""A few hundred of the damaged files of benchmarks/fuzz.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def test_every_damaged_file_is_one_row(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--mutants", "300", "--seed", "5", "--json", figures]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(figures.read_text())
    assert result["files"] == result["rows"] == 300
    assert result["unexpected"] == result["processes lost"] == {}
    assert "timeout" not in result["faults"]
    assert result["faults"]["none"] > 30
