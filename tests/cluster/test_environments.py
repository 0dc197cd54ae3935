"""Environments that are made from the lock: without network, by conda, in a container."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.scratch import ROOT, clone

pytestmark = pytest.mark.slow

SOME = ("filelock", "jinja2", "markupsafe")


def documented(heading: str) -> list[str]:
    """Return the pip commands below a heading of the page, without their comments."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.partition(" #")[0].strip() for line in section.splitlines()]
    return [line for line in lines if "pip " in line or line.startswith("python3 -m venv")]


@pytest.mark.cluster
@pytest.mark.skipif("DSNET_CLUSTER_TEST" not in os.environ, reason="make cluster-test runs it")
def test_a_wheelhouse_installs_the_lock_without_an_index(tmp_path: Path) -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    blocks = [re.search(rf"^{name}==.*?(?=^\S)", lock, re.M | re.S) for name in SOME]
    assert all(blocks)
    (tmp_path / "requirements.txt").write_text("".join(block[0] for block in blocks if block))
    download, venv, install, _editable = documented("Without network")
    no_network = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": ""}
    python = Path(sys.executable).parent
    for command, values in ((download, {}), (venv, no_network), (install, no_network)):
        environment = {**os.environ, **values, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=True)
    imported = "import filelock, jinja2, markupsafe; print(filelock.__file__)"
    own = tmp_path / ".venv" / "bin" / "python"
    printed = subprocess.check_output([own, "-I", "-c", imported], text=True)
    assert str(tmp_path) in printed


def test_conda_and_the_container_install_the_lock_and_nothing_beside_it() -> None:
    environment = yaml.safe_load((ROOT / "workflow/envs/dsnet.yaml").read_text())
    *_, pip = environment["dependencies"]
    (line,) = pip["pip"]  # alone, since beside hashes pip refuses an editable install
    path = line.removeprefix("-r ")
    # From the file's own folder, and from Snakemake's copy of it in .snakemake/conda.
    for folder in (ROOT / "workflow" / "envs", ROOT / ".snakemake" / "conda"):
        assert Path(os.path.normpath(folder / path)) == ROOT / "requirements.txt"
    assert "RUN make /opt/venv/.ready" in (ROOT / "Containerfile").read_text()
    assert "--require-hashes --requirement requirements.txt" in (ROOT / "Makefile").read_text()


def test_the_image_holds_neither_data_nor_results() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert kept[1] == "*"
    allowed = {line[1:] for line in kept if line.startswith("!")}
    assert allowed.isdisjoint({"data", "results", "own", ".git", "logs", ".snakemake"})
    assert "config/local.yaml" in kept
    assert all((ROOT / name).exists() for name in allowed)


CONDA = """#!/bin/sh
# What Snakemake asks of conda; an environment is a Python that notes what it runs.
case "$1 $2" in
  "info --json") echo '{"conda_prefix": "FOLDER", "platform": "linux-64"}' ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "env create")
    for word; do prefix=$word; done
    mkdir -p "$prefix/bin"
    printf '#!/bin/sh\\necho "$@" >> FOLDER/ran\\nexec PYTHON "$@"\\n' > "$prefix/bin/python"
    chmod +x "$prefix/bin/python" ;;
  *) echo "conda 25.1.0" ;;
esac
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for conda is a shell script")
def test_steps_run_in_the_environment_that_conda_made(tmp_path: Path) -> None:
    project, programs = clone(tmp_path / "project"), tmp_path / "bin"
    programs.mkdir()
    text = CONDA.replace("FOLDER", str(tmp_path)).replace("PYTHON", sys.executable)
    (programs / "conda").write_text(text)
    (programs / "conda").chmod(0o755)
    (programs / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    project.succeed(
        *("snakemake", "data/phantom/cohort.json", "--cores", "1"),
        *("--software-deployment-method", "conda"),
        PATH=os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        PYTHONPATH=str(project.path),
    )
    assert "-m dsnet.phantom.step" in (tmp_path / "ran").read_text()
