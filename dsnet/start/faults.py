"""The faults of a cohort, what it would become, and how ``dsnet check`` prints both."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dsnet.audit.explain import count_of
from dsnet.config.load import Config
from dsnet.errors import UserError

if TYPE_CHECKING:  # torch, where the cost is asked for
    from dsnet.start.cost import Cost

Weight = Literal["stop", "loss", "note"]
"""The run would stop; patients or files would be lost; something to know."""

WEIGHTS: Final[tuple[Weight, ...]] = ("stop", "loss", "note")

_NUMBER: Final = re.compile(r"\d+")

_HEAD = {"stop": "STOPS", "loss": "LOSES", "note": "NOTE "}
_EXAMPLES = 3
"""Further rows that are named where a fault stands in many."""


@dataclass(frozen=True)
class Fault:
    """What is wrong in one way, in one place or in many.

    Attributes
    ----------
    weight : {"stop", "loss", "note"}
    error : UserError
        The first.
    others : tuple of UserError
        Those that differ from it in their row alone.
    """

    weight: Weight
    error: UserError
    others: tuple[UserError, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a cohort would become.

    Attributes
    ----------
    faults : tuple of Fault
        Worst first.
    files, patients : int
        Files below ``dicom/``, and patients of their headers.
    included : dict of str to int
        Patients by class, of those that no criterion excludes.
    images : dict of str to int
        Labelled images by subset; empty where there can be no split.
    excluded : dict of str to int
        Patients by the criterion that excludes them.
    """

    faults: tuple[Fault, ...]
    files: int = 0
    patients: int = 0
    included: dict[str, int] | None = None
    images: dict[str, int] | None = None
    excluded: dict[str, int] | None = None

    @property
    def stops(self) -> bool:
        """Whether the workflow would stop."""
        return any(fault.weight == "stop" for fault in self.faults)


def sorted_faults(found: Sequence[tuple[Weight, UserError]]) -> tuple[Fault, ...]:
    """Return the faults, worst first, those together that differ in numbers alone."""
    alike: dict[tuple[object, ...], list[UserError]] = {}
    once = {(weight, str(error), error.private): (weight, error) for weight, error in found}
    for weight, error in once.values():  # a table that two functions read shows its faults twice
        texts = (error.where, error.expected, error.came, error.remedy)
        alike.setdefault((weight, *(_NUMBER.sub("#", text) for text in texts)), []).append(error)
    faults = [Fault(key[0], group[0], tuple(group[1:])) for key, group in alike.items()]  # type: ignore[arg-type]  # the weight
    return tuple(sorted(faults, key=lambda fault: WEIGHTS.index(fault.weight)))


def fault_lines(checked: Checked, *, show_private: bool) -> Iterator[str]:
    """Yield the faults, worst first; private detail under each, if wanted."""
    for fault in checked.faults:
        more = ""
        if fault.others:
            rows = ", ".join(error.where for error in fault.others[:_EXAMPLES])
            dots = " ..." if len(fault.others) > _EXAMPLES else ""
            more = f" ({len(fault.others):,} more like it: {rows}{dots})"
        yield f"{_HEAD[fault.weight]} {fault.error}{more}"
        if show_private:
            errors = (fault.error, *fault.others)
            private = dict.fromkeys(error.private for error in errors if error.private)
            yield from (f"        {detail}" for detail in private)
    if not show_private and any(fault.error.private for fault in checked.faults):
        yield "On a private terminal, dsnet check --show-private adds IDs, names and paths."


def summary_lines(
    checked: Checked, config: Config, cost: "Cost | None", *, pixels: bool
) -> Iterator[str]:
    """Yield what would become of the cohort, and what Table 1 would take."""
    if not checked.files:
        return
    yield ""
    yield f"Cohort    {checked.files:,} files below dicom/, {checked.patients:,} patients"
    if checked.excluded:
        reasons = ", ".join(f"{slug} {n:,}" for slug, n in checked.excluded.items())
        yield f"Excluded  {count_of(sum(checked.excluded.values()), 'patient')}: {reasons}"
    if checked.included:
        classes = ", ".join(f"{n:,} {name}" for name, n in checked.included.items())
        least = config.split.min_patients_per_class
        is_split = set(checked.images or ()) != {"test"}  # an external cohort is not
        needed = f" (a split needs {least} patients of each)" if is_split else ""
        yield f"Included  {classes}{needed}"
    if checked.images:
        yield "Images    " + ", ".join(f"{n:,} {name}" for name, n in checked.images.items())
    if cost:
        yield (
            f"Time      about {_duration(cost.hours)} for Table 1's {cost.trainings} trainings"
            + (f", {cost.at_once} at a time" if cost.at_once > 1 else "")
            + f" (measured on images of noise, so rather less; {cost.machine})"
        )
        yield (
            f"Disk      {_gigabytes(cost.disk_bytes)} in {config.results}, and as much in DVC's "
            f"cache if it records them; free: {_gigabytes(cost.free_bytes)}"
            + (", TOO LITTLE" if cost.free_bytes < cost.disk_bytes else "")
        )
    if not pixels:
        yield (
            "Pixels were not read: implants, copies and damaged images show with --pixels, and "
            "where the body is on each image."
        )


def _duration(hours: float) -> str:
    if hours < 1:
        return count_of(max(1, round(hours * 60)), "minute")
    return f"{hours:,.1f} hours" if hours < 48 else f"{hours / 24:,.1f} days"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
