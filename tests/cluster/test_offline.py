"""The documented installation without network, with three packages of the lock."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.scratch import ROOT

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
    (line,) = pip["pip"]
    flag, _, path = line.partition(" -r ")
    assert flag == "--require-hashes"  # beside which pip refuses an editable install
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
