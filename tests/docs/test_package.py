"""The package as others install it: both distributions, without the tools of the workflow."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.scratch import ROOT

pytestmark = pytest.mark.slow

WITHOUT = """
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refusal())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel, made from the sdist, was unpacked."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, code: str, *refused: str) -> str:
    """Run Python with the installed package alone on its path, some packages refused."""
    program = WITHOUT.replace("{refused}", repr(set(refused) or {""})) + code
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_whole(installed: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dsnet").rglob("*.py")}
    files |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "dsnet").rglob("*.jinja")}
    absent = {name for name in files if not (installed / name).exists()}
    assert absent == set()


def test_the_command_says_its_version(installed: Path) -> None:
    code = "from dsnet.cli import app; app(['--version'])"
    assert run(installed, code, "snakemake", "dvc").startswith("dsnet ")


def test_modules_and_metrics_need_no_workflow(installed: Path) -> None:
    code = "import dsnet, torch; print(dsnet.DS(64)(torch.rand(1, 64, 4, 4)).shape)"
    assert run(installed, code, "snakemake", "dvc") == "torch.Size([1, 64, 4, 4])\n"


def test_metrics_need_no_torch(installed: Path) -> None:
    run(
        installed, "import dsnet; dsnet.compute_metrics", "torch", "torchvision", "snakemake", "dvc"
    )


def test_codemeta_follows_from_the_citation() -> None:
    spec = importlib.util.spec_from_file_location("codemeta", ROOT / "docs" / "codemeta.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    assert written == module.codemeta(), "run python docs/codemeta.py"
