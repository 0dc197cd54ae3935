"""Snakemake commands as forks of one process that has imported Snakemake, which takes a second.

As a script, that process. Nothing of this project is imported before a fork: its package is that of
each command's PYTHONPATH.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

CAN_FORK = hasattr(os, "fork")
IMPORTED = (
    "snakemake.cli",
    "snakemake.report",
    "docutils.parsers.rst.directives.images",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "smart_open",
    "yaml",
)


@cache
def server() -> subprocess.Popen[str]:
    """Return the process that forks; it ends with the one that asks it."""
    command = [sys.executable, "-P", __file__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)  # closes its standard input, and waits for its end
    return process


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``snakemake`` with `arguments` in `folder`; standard error goes to standard output."""
    process = server()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.NamedTemporaryFile() as printed:
        request = [list(arguments), str(folder), dict(environment), printed.name]
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        text = Path(printed.name).read_text(encoding="utf-8")
    return subprocess.CompletedProcess(["snakemake", *arguments], status, text)


def serve() -> None:
    """Answer each request, a line, with the exit status of the command."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] == "dsnet"]
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def become(arguments: list[str], folder: str, environment: dict[str, str], printed: str) -> None:
    """Become the command, as if this process had been started with it."""
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(printed, os.O_WRONLY | os.O_APPEND)
    for standard, opened in ((0, nothing), (1, output), (2, output)):
        os.dup2(opened, standard)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = False
    sys.argv = [str(Path(sys.executable).with_name("snakemake")), *arguments]
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    importlib.import_module("snakemake.cli").main()
    raise SystemExit


if __name__ == "__main__":
    serve()
