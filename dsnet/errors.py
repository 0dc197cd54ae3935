"""The one exception that a user is meant to read, how several are collected, and those of a run.

A step names nothing private in its log. Its process appends one line of JSON to the file that the
environment variable `FAILURES` names, with the private detail of the error; the workflow sets the
variable, empties the file when a run starts, and prints the sentences as the last thing of all.
``dsnet why`` reads it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final


class UserError(Exception):
    """Something the user can put right; its text is one sentence.

    Parameters
    ----------
    where : str
        Table and row (``dxa.csv row 7``), ``file_key`` or config key. Never a path inside the
        cohort, a hospital ID or a name: those are identifying.
    expected : str
        What should have been there.
    came : str
        What was there instead. Free text from a cell may be a name, so describe it
        (``text of 6 characters``) and put the value itself into `private`.
    remedy : str
        What to do, as an imperative.
    private : str, optional
        Identifying detail, printed on the terminal only, and only with ``--show-private``.
    """

    def __init__(
        self, where: str, *, expected: str, came: str, remedy: str, private: str = ""
    ) -> None:
        super().__init__(f"{where}: expected {expected}, but found {came}; {remedy}.")
        self.where, self.expected, self.came, self.remedy = where, expected, came, remedy
        self.private = private


_collected: ContextVar[list[UserError] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_errors() -> Iterator[list[UserError]]:
    """Yield a list that receives the errors of all `collectable` blocks within.

    For ``dsnet check``, which shows every fault of a cohort at once. What readers return meanwhile
    lacks the faulty rows.
    """
    errors: list[UserError] = []
    token = _collected.set(errors)
    try:
        yield errors
    finally:
        _collected.reset(token)


@contextmanager
def collectable() -> Iterator[None]:
    """Mark the reading of one row or file, without which the rest can be read.

    A `UserError` in it ends the block. Within `collect_errors` it is collected, and what follows
    the block goes on; elsewhere it is raised as ever.
    """
    try:
        yield
    except UserError as error:
        errors = _collected.get()
        if errors is None:
            raise
        errors.append(error)


FAILURES: Final = "DSNET_FAILURES"
CHECK: Final = "dsnet: dsnet check lists all faults of the cohort at once."
_COHORT_STEPS: Final = frozenset({"ingest", "match", "exclude", "label", "split", "slices"})


@dataclass(frozen=True)
class Failure:
    """How a step failed.

    Attributes
    ----------
    sentence : str
        What it printed; identifies nobody.
    private : str
        Identifying detail.
    log : str
        The step's log.
    """

    sentence: str
    private: str
    log: str


def failures_file(private: Path) -> Path:
    """Return the file in the folder of the config key ``private``."""
    return private / "failures.jsonl"


def record_failure(failure: Failure) -> None:
    """Append a failure, if the workflow runs the step and the private folder can be written."""
    named = os.environ.get(FAILURES)
    if not named:
        return
    try:
        Path(named).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(named, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(failure)) + "\n")
    except OSError:  # a full disk, for one, of which the sentence itself speaks
        return


def read_failures(private: Path) -> list[Failure]:
    """Return the failures of the last run, in their order."""
    try:
        lines = failures_file(private).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    failures = []
    for line in lines:
        with suppress(ValueError):  # cut short by a full disk; the step's log has it
            failures.append(Failure(**json.loads(line)))
    return failures


def forget_failures(private: Path) -> None:
    """Delete the failures of earlier runs."""
    failures_file(private).unlink(missing_ok=True)


def failures_summary(failures: list[Failure]) -> str:
    """Return what the workflow prints last, one sentence a line."""
    if not failures:
        return (
            "dsnet: a step ended without a sentence of its own, as after Ctrl-C (the same command "
            "then goes on) or when the system stops it for want of memory; the lines above name "
            "the step and its log.\n"
        )
    lines = [f"dsnet: {sentence}" for sentence in dict.fromkeys(f.sentence for f in failures)]
    if any(failure.private for failure in failures):
        lines.append("dsnet: on a private terminal, dsnet why adds whose data these are.")
    if any(Path(failure.log).stem in _COHORT_STEPS for failure in failures):
        lines.append(CHECK)
    return "".join(f"{line}\n" for line in lines)


def failure_lines(failures: list[Failure], *, show_private: bool) -> Iterator[str]:
    """Yield what ``dsnet why`` prints, private detail under each failure if it may be shown."""
    for failure in failures:
        yield f"{failure.log}: {failure.sentence}" if failure.log else failure.sentence
        if failure.private:
            hidden = "(whose data these are is shown on a terminal only)"
            yield f"    {failure.private if show_private else hidden}"
    if not failures:
        yield (
            "No step of the last run left an error; one that stops snakemake before its first "
            "step is its last line, and dsnet check says more of the cohort's."
        )
