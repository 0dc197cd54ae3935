"""A scratch clone of this project, and what was seen when its commands ran."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import forks

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "dvc.yaml",
    "all",
    ".dvcignore",
    "pyproject.toml",
    "workflow",
    "profiles",
    "config",
    "dsnet",
)
NOT_PASSED = ("DVC_", "PYTHONDONTWRITEBYTECODE")
"""What a user's shell does not set: dozens of processes would each compile the clone's package."""


@dataclass(frozen=True)
class Project:
    """A folder with the project's files, in which commands are run as a user runs them."""

    path: Path
    package: Path | None = None
    """Where the package is imported from: the folder itself, unless it is named."""
    forks: bool = forks.CAN_FORK
    """Whether commands and their steps are forks of one process instead of bare interpreters."""

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `command` with this environment's programs first on the path."""
        programs = str(Path(sys.executable).parent)
        if self.forks:
            programs = f"{forks.programs()}{os.pathsep}{programs}"
        values = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED)
            },
            "PATH": programs + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(self.package or self.path),
            "COLUMNS": "200",
            "GIT_AUTHOR_NAME": "Test",
            "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "Test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
            **environment,
        }
        return subprocess.run(
            command,
            cwd=self.path,
            env=values,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def succeed(self, *command: str, **environment: str) -> str:
        """Run `command`, which must end well, and return what it printed."""
        result = self.run(*command, **environment)
        assert result.returncode == 0, result.stdout[-8000:]
        return result.stdout

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))


def clone(path: Path) -> Project:
    """Copy the project's own files to `path`, with the tiny config in the demo's place."""
    path.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, path / part)
    shutil.copy2(path / "config" / "tiny.yaml", path / "config" / "config.yaml")
    for folder in ("data", "results"):
        (path / folder).mkdir()
        shutil.copy2(ROOT / folder / ".gitignore", path / folder / ".gitignore")
    shutil.copy2(ROOT / "data" / "dvc.yaml", path / "data" / "dvc.yaml")
    return Project(path)


def use_small_detector(project: Project) -> None:
    """Replace ResNet50 by a few convolutions in the project's own package, so in all its steps."""
    detect = project.path / "dsnet" / "detect"
    shutil.copy2(ROOT / "tests" / "support" / "small_training.py", detect / "small_training.py")
    with (detect / "backbone.py").open("a", encoding="utf-8") as source:
        source.write("\n\nfrom dsnet.detect.small_training import use_small_detector\n")
        source.write("\nuse_small_detector()\n")
