"""The errors of the last run of the workflow, kept in the private folder for ``dsnet why``.

A step names nothing private in its log. Its process appends one line of JSON to the file that the
environment variable `VARIABLE` names, with the private detail of the error; the workflow sets the
variable, empties the file when a run starts, and prints the sentences as the last thing of all.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "DSNET_FAILURES"
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


def path_in(private: Path) -> Path:
    """Return the file in the folder of the config key ``private``."""
    return private / "failures.jsonl"


def record(failure: Failure) -> None:
    """Append a failure, if the workflow runs the step and the private folder can be written."""
    named = os.environ.get(VARIABLE)
    if not named:
        return
    try:
        Path(named).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(named, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(failure)) + "\n")
    except OSError:  # a full disk, for one, of which the sentence itself speaks
        return


def read(private: Path) -> list[Failure]:
    """Return the failures of the last run, in their order."""
    try:
        lines = path_in(private).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    failures = []
    for line in lines:
        with suppress(ValueError):  # cut short by a full disk; the step's log has it
            failures.append(Failure(**json.loads(line)))
    return failures


def forget(private: Path) -> None:
    """Delete the failures of earlier runs."""
    path_in(private).unlink(missing_ok=True)


def summary(failures: list[Failure]) -> str:
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
