"""Running one step of the pipeline from the shell: ``python -m dsnet.<step> --name value ...``.

A step is a function whose keyword parameters are the files it reads and writes (`Path`), plain
values (`str`, `int`) and at most one config section (a pydantic model, passed as JSON in
``--params``). `run` makes the command line from the signature, so that a step knows nothing of
Snakemake and a rule only names files.
"""

import argparse
import inspect
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from dsnet.config import explain
from dsnet.errors import UserError
from dsnet.files import write_text


def run(step: Callable[..., None], argv: list[str] | None = None) -> None:
    """Call `step` with arguments taken from the command line.

    With ``--log FILE`` the step's start, wall time and error go to that file, too: the terminal
    stays the step's own, so that progress bars work under Snakemake.

    Exit status 0 on success, 1 on an error that the user can mend (one sentence on stderr), 2 on
    wrong arguments, 70 on a fault in the program.

    Notes
    -----
    Third-party warnings and messages of unexpected exceptions may quote header values, and what a
    step prints ends in a log. They are withheld unless ``DSNET_DEBUG`` is set (``dsnet --debug``).
    """
    if not debugging():
        warnings.simplefilter("ignore")
    arguments = _parse(step, argv)
    log = arguments.pop("log")
    with reporting(log=log):
        begun = time.monotonic()
        step(**arguments)
        _record(log, f"done in {time.monotonic() - begun:.1f} s")


@contextmanager
def reporting(*, show_private: bool = False, log: Path | None = None) -> Iterator[None]:
    """Turn an exception into one sentence on stderr (and in `log`) and an exit status."""
    if debugging():
        yield
        return
    try:
        yield
    except UserError as error:
        detail = f" [{error.private}]" if show_private and error.private else ""
        _record(log, str(error))
        _leave(f"{error}{detail}", 1)
    except Exception as error:  # noqa: BLE001 - the outermost place: nothing is swallowed
        _record(log, _fault(error))
        _leave(_fault(error), 70)


def debugging() -> bool:
    """Return whether full tracebacks are wanted, at the price of identifying text in them."""
    return os.environ.get("DSNET_DEBUG", "") not in ("", "0")


def _record(log: Path | None, sentence: str) -> None:
    if log is not None:
        write_text(log, sentence + "\n")


def _leave(sentence: str, status: int) -> NoReturn:
    print(f"dsnet: {sentence}", file=sys.stderr)
    raise SystemExit(status)


def _fault(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return (
        f"a fault in the program, {type(error).__name__} at {place}; its message is withheld since "
        "it may quote patient data: set DSNET_DEBUG=1 and run the command on a private terminal."
    )


def _parse(step: Callable[..., None], argv: list[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=inspect.getdoc(step))
    for parameter in inspect.signature(step).parameters.values():
        kind = parameter.annotation
        flag = "--" + parameter.name.replace("_", "-")
        required = parameter.default is inspect.Parameter.empty
        default = None if required else parameter.default
        convert = _params(kind) if _is_model(kind) else kind
        parser.add_argument(
            flag, dest=parameter.name, type=convert, required=required, default=default
        )
    parser.add_argument("--log", type=Path, help="where to record how the step ended")
    return vars(parser.parse_args(argv))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _params(model: type[BaseModel]) -> Callable[[str], BaseModel]:
    def convert(text: str) -> BaseModel:
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(explain(error, model)) from error

    return convert
