"""What ``dsnet check`` prints, one line for each fault and fact."""

from collections.abc import Iterator

from dsnet.audit.explain import count_of
from dsnet.config.load import Config
from dsnet.start.check import Checked, Fault
from dsnet.start.cost import Cost

_HEAD = {"stop": "STOPS", "loss": "LOSES", "note": "NOTE "}
_EXAMPLES = 3
"""Further rows that are named where a fault stands in many."""


def fault_lines(checked: Checked, *, show_private: bool) -> Iterator[str]:
    """Yield the faults, worst first; private detail under each, if wanted."""
    for fault in checked.faults:
        yield f"{_HEAD[fault.weight]} {fault.error}{_more(fault)}"
        if show_private:
            errors = (fault.error, *fault.others)
            private = dict.fromkeys(error.private for error in errors if error.private)
            yield from (f"        {detail}" for detail in private)
    if not show_private and any(fault.error.private for fault in checked.faults):
        yield "On a private terminal, dsnet check --show-private adds IDs, names and paths."


def _more(fault: Fault) -> str:
    if not fault.others:
        return ""
    rows = ", ".join(error.where for error in fault.others[:_EXAMPLES])
    more = " ..." if len(fault.others) > _EXAMPLES else ""
    return f" ({len(fault.others):,} more like it: {rows}{more})"


def summary_lines(
    checked: Checked, config: Config, cost: Cost | None, *, pixels: bool
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
