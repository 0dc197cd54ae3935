"""Running one step of the pipeline from the shell: ``python -m dsnet.<package>.step --name value``.

A module of several steps takes the name of one: ``python -m dsnet.<package>.<module> step ...``.

A step is a function whose keyword parameters are the files it reads and writes (`Path` or
`list[Path]`), plain values (`str`, `int`, lists and literals of them) and sections of the config
(pydantic models, passed as JSON). `run` makes the command line from the signature, so that a step
knows nothing of Snakemake and a rule only names files.
"""

import functools
import inspect
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

from dsnet.config import explain
from dsnet.errors import Failure, UserError, record_failure
from dsnet.files import cannot_write, write_text

_PACKAGE = Path(__file__).parent


def run(*steps: Callable[..., str | None], argv: list[str] | None = None) -> None:
    """Call a step with arguments taken from the command line; print the notice that it returns.

    Of several steps, the first argument names one: its function, with dashes for underscores.

    With ``--log FILE`` the step's wall time and notice, or its error, go to that file, too: the
    terminal stays the step's own, so that progress bars work under Snakemake. ``--code`` is
    accepted and ignored: rules name the digest of their source there, so that a command changes
    when its source does.

    Exit status 0 on success, 1 on an error that the user can mend (one sentence on stderr), 2 on
    wrong arguments, 70 on a fault in the program.

    Notes
    -----
    Third-party warnings and messages of unexpected exceptions may quote header values, and what a
    step prints ends in a log. They are withheld unless ``DSNET_DEBUG`` is set (``dsnet --debug``).
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    for step in steps:
        app.command(help=inspect.getdoc(step))(_command(step))
    try:
        app(args=argv)
    except SystemExit as ended:  # typer ends the process after success, too
        if ended.code:
            raise


def _command(step: Callable[..., str | None]) -> Callable[..., None]:
    """Return `step` with a signature from which typer makes the options."""

    @functools.wraps(step)
    def command(**arguments: Any) -> None:
        if not debugging():
            warnings.simplefilter("ignore")
        log = arguments.pop("log")
        arguments.pop("code")
        with reporting(log=log):
            begun = time.monotonic()
            notice = step(**arguments)
            if notice:
                print(f"dsnet: {notice}", file=sys.stderr)
            done = f"done in {time.monotonic() - begun:.1f} s"
            _record(log, f"{done}\n{notice}" if notice else done)

    parameters = [_option(parameter) for parameter in inspect.signature(step).parameters.values()]
    log = Annotated[Path | None, typer.Option(help="Where to record how the step ended.")]
    code = Annotated[str, typer.Option(help="Digest of the step's source; not read.")]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, default, kind in (("log", None, log), ("code", "", code))
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return command


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter as a named option; a config section is read from its JSON."""
    kind = parameter.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        option = typer.Option(parser=_section(kind), metavar="JSON")
    else:
        option = typer.Option()
    return parameter.replace(annotation=Annotated[kind, option])


def _section(model: type[BaseModel]) -> Callable[[str | BaseModel], BaseModel]:
    def parse(text: str | BaseModel) -> BaseModel:
        if isinstance(text, BaseModel):  # a default
            return text
        try:
            if text.startswith("{"):
                return model.model_validate_json(text)
            return model.model_validate(text)
        except ValidationError as error:
            raise typer.BadParameter(explain(error, model)) from error

    return parse


@contextmanager
def reporting(*, show_private: bool = False, log: Path | None = None) -> Iterator[None]:
    """Turn an exception into one sentence on stderr (and in `log`) and an exit status."""
    if debugging():
        yield
        return
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            raise  # typer then ends with status 1, as other programs whose reader has enough
        known = error if isinstance(error, UserError) else cannot_write(error)
        sentence, private = (str(known), known.private) if known else (_fault(error), "")
        record_failure(Failure(sentence, private, str(log or "")))
        with suppress(UserError):  # the log may lie in the folder that cannot be written
            _record(log, sentence)
        detail = f" [{private}]" if show_private and private else ""
        print(f"dsnet: {sentence}{detail}", file=sys.stderr)
        raise SystemExit(1 if known else 70) from error


def _nobody_reads() -> bool:
    """Return whether what reads the standard output, such as ``head``, has ended."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def debugging() -> bool:
    """Return whether full tracebacks are wanted, at the price of identifying text in them."""
    return os.environ.get("DSNET_DEBUG", "") not in ("", "0")


def _record(log: Path | None, sentence: str) -> None:
    if log is not None:
        write_text(log, sentence + "\n")


def _fault(error: Exception) -> str:
    """Return a sentence that names the exception and the last frame of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(_PACKAGE) and frame.filename != __file__
    ]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    name = path.relative_to(_PACKAGE.parent) if own else path.name
    return (
        f"a fault in the program, {type(error).__name__} at {name}:{frame.lineno}; its message is "
        "withheld since it may quote patient data: set DSNET_DEBUG=1 and run the command on a "
        "private terminal."
    )
