"""Commands and steps as forks of one process that has imported what they import.

A bare interpreter takes 4 s for torch, 1.5 s for Snakemake, 1 s for pandas. Each command is a
process of its own all the same, with its own folder, environment, options and exit status. Nothing
of this project is imported before a fork: its package is that of the command's PYTHONPATH. What
forks do not show: a module that a step uses and does not import; an order that depends on the
hashes of strings, which all forks share. test_module.py and .ci/run start bare interpreters.

As a script, the process that forks.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

CAN_FORK = hasattr(os, "fork")
COMMANDS = {"snakemake": "snakemake.cli", "dsnet": "dsnet.cli", "dvc": "dvc.cli"}
"""What a program of this name imports, and where its function ``main`` or its ``app`` is."""
IMPORTED = (
    "blake3",
    "docutils.parsers.rst.directives.images",
    "dvc.cli.parser",
    "dvc.repo",
    "filelock",
    "highdicom",
    "jinja2",
    "lightning_fabric",
    "lightning_fabric.loggers.tensorboard",
    "nibabel",
    "openpyxl",
    "pandas",
    "pandera.pandas",
    "pyarrow.parquet",
    "pydantic",
    "pydicom.encaps",
    "pydicom.pixels.decoders.base",
    "rich.progress",
    "rich.table",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "smart_open",
    "snakemake.cli",
    "snakemake.report",
    "torch",
    "torch.distributed.nn.functional",
    "torch.utils.data",
    "torchvision.models.detection",
    "typer",
    "yaml",
)
PROGRAM = """\
#!{python} -ISE
import json, os, signal, socket, sys
name = os.path.basename(sys.argv[0])
known = {known}
if name == "python" and not (sys.argv[1:2] == ["-m"] and sys.argv[2].split(".")[0] in known):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"x"], [0, 1, 2])
    request = [name, sys.argv[1:], os.getcwd(), dict(os.environ)]
    answer = server.makefile("rw")
    answer.write(json.dumps(request) + "\\n")
    answer.flush()
    process = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(process, number))
    status = int(answer.readline())
sys.exit(status if status >= 0 else 128 - status)
"""
"""What stands in a program's place; ``python`` is itself unless it runs a module of one of them."""


@cache
def programs() -> Path:
    """Return the folder of programs which are forks; the process that forks ends by `stop`."""
    folder = tempfile.TemporaryDirectory(prefix="forks")
    path = Path(folder.name)
    values = {"python": sys.executable, "known": list(COMMANDS), "address": str(path / "socket")}
    text = PROGRAM.format(**values)
    for name in (*COMMANDS, "python"):
        (path / name).write_text(text, encoding="utf-8")
        (path / name).chmod(0o755)
    command = [sys.executable, "-P", __file__, str(path / "socket")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    _started.append((process, folder))
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return path


_started: list[tuple[subprocess.Popen[bytes], tempfile.TemporaryDirectory[str]]] = []


@atexit.register
def stop() -> None:
    """End the process that forks, if there is one: it holds 600 MB."""
    while _started:
        process, folder = _started.pop()
        process.communicate()  # closes its standard input, and waits for its end
        folder.cleanup()
    programs.cache_clear()


def serve(address: str) -> None:
    """Fork for each connection until the standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] == "dsnet"]
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                break
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                answer(connection, Path(address).parent)
            connection.close()
            with suppress(ChildProcessError):  # those that have ended
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    os.killpg(0, signal.SIGTERM)  # and what still runs


def answer(connection: socket.socket, programs: Path) -> None:
    """Fork again, and answer with the process ID and the exit status of the command."""
    _, standard, _, _ = socket.recv_fds(connection, 1, 3)
    stream = connection.makefile("rw")
    request = json.loads(stream.readline())
    child = os.fork()
    if not child:
        connection.close()
        stream.close()
        become(request, standard, programs)
    for descriptor in standard:
        os.close(descriptor)
    with suppress(BrokenPipeError):  # the program was killed
        print(child, file=stream, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=stream, flush=True)
    os._exit(0)


def become(request: list[Any], standard: list[int], programs: Path) -> None:
    """Become the command, as if this process had been started with it."""
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    status = 0
    try:
        call(*request, programs)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 - an interpreter, too, prints it and ends
        sys.excepthook(*sys.exc_info())
        status = 1
    # Without taking apart what was imported, which takes an interpreter half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def call(
    name: str, arguments: list[str], folder: str, environment: dict[str, str], programs: Path
) -> None:
    """Call what the program calls."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = False
    if threads := environment.get("OMP_NUM_THREADS"):  # read when torch was imported
        importlib.import_module("torch").set_num_threads(int(threads))
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    program = str(Path(sys.executable).with_name(name))
    sys.executable = str(programs / "python")  # for what it starts, as Snakemake its steps
    if name == "python":
        module, arguments = arguments[1], arguments[2:]
        sys.path.insert(0, folder)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    sys.argv = [program, *arguments]
    sys.modules["__main__"] = ModuleType("__main__")
    module = importlib.import_module(COMMANDS[name])
    sys.exit((module.app if name == "dsnet" else module.main)())


if __name__ == "__main__":
    serve(sys.argv[1])
