"""What ``dsnet audit`` prints: tables for eyes, CSV or JSON for programs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dsnet.audit.flow import flow_rows, read_flow
from dsnet.audit.rows import (
    LEDGER,
    PATIENTS,
    Private,
    criterion_rows,
    file_rows,
    patient_rows,
    patients,
    with_paths,
)

LIMIT = 40
"""Rows shown unless all are asked for."""

Row = dict[str, Any]

_REMAINING = ("files", "images", "patients")
_COLUMNS = ("file_key", "patient_key", "status", "criterion", "evidence", "all_criteria", "path")
_NUMBERS = {
    "files_removed": "files\nout",
    "patients_removed": "patients\nout",
    "files": "files\nleft",
    "images": "images\nleft",
    "patients": "patients\nleft",
    "flagged": "\nflagged",
    "not_evaluated": "not\njudged",
}


@dataclass(frozen=True)
class Answer:
    """What was asked for, in every form.

    Attributes
    ----------
    about : dict
        The cohort's name and whether it is synthetic.
    rows : list of dict
        What CSV holds: rows of the ledger or, where nothing narrower was asked, of the flow.
    tables : sequence of rich renderables
        For eyes.
    more : dict
        What JSON holds besides.
    """

    about: Row
    rows: Sequence[Row]
    tables: Sequence[RenderableType]
    more: Row = field(default_factory=dict)

    def csv(self) -> str:
        """Return `rows` as CSV; None is an empty cell."""
        stream = io.StringIO()
        heads = list(self.rows[0]) if self.rows else LEDGER
        writer = csv.DictWriter(stream, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return stream.getvalue()

    def json(self) -> str:
        """Return everything as one JSON object."""
        return json.dumps({"cohort": self.about, **self.more, "rows": self.rows}, indent=2)


def overview(results: Path, *, limit: int | None = LIMIT) -> Answer:
    """Return the flow, and the excluded patients with their reasons.

    Parameters
    ----------
    results : Path
    limit : int or None
        How many patients to show; None for all.
    """
    told = read_flow(results)
    excluded = [row for row in patients(results) if row["status"] == "excluded"]
    heads = ("patient_key", "n_files", "criterion", "reason")
    tables = [flow_view(told), *_listing("Excluded patients", excluded, heads, limit)]
    return Answer(told["cohort"], flow_rows(told), tables, {"excluded_patients": excluded})


def patient_view(
    results: Path, patient: str, *, private: Private, limit: int | None = LIMIT
) -> Answer:
    """Return one patient's outcome and files; see `dsnet.audit.rows.patient_rows`."""
    rows = _shown(patient_rows(results, patient, private), private)
    keys = {row["patient_key"] for row in rows}
    own = [row for row in patients(results) if row["patient_key"] in keys]
    heads = [name for name in _COLUMNS if name != "patient_key"]
    tables = [*_listing("Patient", own, PATIENTS, None), *_listing("Files", rows, heads, limit)]
    return Answer(read_flow(results)["cohort"], rows, tables, {"patients": own})


def criterion_view(
    results: Path, criterion: str, *, private: Private, limit: int | None = LIMIT
) -> Answer:
    """Return the files on which one criterion was found."""
    rows = _shown(criterion_rows(results, criterion), private)
    tables = _listing(f"Files with {criterion}", rows, _COLUMNS, limit)
    return Answer(read_flow(results)["cohort"], rows, tables)


def file_view(results: Path, file_key: str, *, private: Private) -> Answer:
    """Return all that the ledger says of one file."""
    rows = _shown(file_rows(results, file_key), private)
    table = Table(title=Text(f"File {file_key.strip()}"), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, cell in rows[0].items():
        table.add_row(str(name), Text(str(cell)))
    return Answer(read_flow(results)["cohort"], rows, [table])


def flow_view(told: Row) -> Table:
    """Return the flow as a table that says when the cohort is synthetic."""
    about = told["cohort"]
    title = f"Cohort {about['name']}" + (" - SYNTHETIC, not patients" if about["synthetic"] else "")
    caption = "flagged (for review), not judged (for want of data): of the files included"
    # Narrow, so that a terminal of eighty characters cuts no number short.
    table = Table(title=Text(title), caption=caption, box=SIMPLE_HEAD, padding=0)
    for head in ("\ncode", "\nstep"):
        table.add_column(head, no_wrap=True)
    for head in _NUMBERS.values():
        table.add_column(head, justify="right", no_wrap=True)
    for row in flow_rows(told):
        # A zero in the last and first columns says nothing, and would hide what does.
        cells = [f"{row[n]:,}" if row[n] or n in _REMAINING else "" for n in _NUMBERS]
        name = row["step"] if row["enabled"] else f"{row['step']} (off)"
        table.add_row(row["code"], name, *cells, style="" if row["code"] else "bold")
    return table


def _cell(name: str, value: Any) -> str:
    """Return a cell's text; a list of criteria with blanks at which it may be folded."""
    return str(value).replace(";", "; ") if name == "all_criteria" else str(value)


def _shown(rows: list[dict[str, str]], private: Private) -> list[dict[str, str]]:
    return with_paths(rows, private) if private.show else rows


def _listing(
    title: str, rows: Sequence[Row], heads: Sequence[str], limit: int | None
) -> list[RenderableType]:
    table = Table(title=Text(f"{title}: {len(rows):,}"), box=SIMPLE_HEAD, padding=0)
    present = [name for name in heads if not rows or name in rows[0]]
    for name in present:
        table.add_column(name, no_wrap=name.endswith("_key"), overflow="fold")
    for row in rows[:limit]:
        # Text, since a path may hold what rich would read as markup.
        table.add_row(*(Text(_cell(name, row[name])) for name in present))
    if limit is None or len(rows) <= limit:
        return [table]
    return [table, Text(f"{len(rows) - limit:,} more; --all shows them.")]
