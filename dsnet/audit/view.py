"""What ``dsnet audit`` prints: tables for people, CSV or JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dsnet.audit.lookup import criterion_rows, file_rows, flow_rows, patient_rows, with_paths
from dsnet.config.cohort import Exclude
from dsnet.exclude.criteria import criteria_table
from dsnet.results import Json, Results
from dsnet.schemas import EXCLUSIONS

LIMIT = 40
"""Rows displayed unless all are asked for."""

_REMAINING = ("files", "images", "patients")
_COLUMNS = ("file_key", "patient_key", "status", "criterion", "evidence", "all_criteria", "path")
_NUMBERS = {
    "files_removed": "files\nout",
    "patients_removed": "patients\nout",
    "files": "files\nleft",
    "images": "images\nleft",
    "patients": "patients\nleft",
    "flagged": "\nflagged",
    "not_evaluated": "not\nevaluated",
}


@dataclass(frozen=True)
class Answer:
    """What was asked for, in every form.

    Attributes
    ----------
    cohort : dict
        Its name and whether it is synthetic.
    rows : DataFrame
        What CSV holds: rows of the ledger or, where nothing narrower was asked, of the flow.
    tables : sequence of rich renderables
        For people.
    more : dict
        What JSON holds beside them.
    """

    cohort: Json
    rows: pd.DataFrame
    tables: Sequence[RenderableType]
    more: Json = field(default_factory=dict)

    def csv(self) -> str:
        """Return `rows` as CSV; None is an empty cell."""
        text: str = self.rows.to_csv(index=False, lineterminator="\n")
        return text

    def json(self) -> str:
        """Return everything as one JSON object."""
        content = {"cohort": self.cohort, **self.more, "rows": self.rows.to_dict("records")}
        return json.dumps(content, indent=2)


def overview(results: Results, *, limit: int | None = LIMIT) -> Answer:
    """Return the flow, and the excluded patients with their reasons.

    Parameters
    ----------
    results : Results
    limit : int or None
        How many patients to display; None for all.
    """
    flow = results.flow
    excluded = results.exclusions[results.exclusions["status"] == "excluded"]
    heads = ("patient_key", "n_files", "criterion", "reason")
    tables = [flow_view(flow), *_listing("Excluded patients", excluded, heads, limit)]
    more = {"excluded_patients": excluded.to_dict("records")}
    return Answer(flow["cohort"], pd.DataFrame(flow_rows(flow), dtype=object), tables, more)


def patient_view(
    results: Results,
    patient: str,
    *,
    private: Path,
    show_private: bool = False,
    limit: int | None = LIMIT,
) -> Answer:
    """Return one patient's outcome and files; see `dsnet.audit.lookup.patient_rows`."""
    rows = patient_rows(results, patient, private)
    if show_private:
        rows = with_paths(rows, results, private)
    own = results.exclusions[results.exclusions["patient_key"].isin(rows["patient_key"])]
    heads = [name for name in _COLUMNS if name != "patient_key"]
    tables = [
        *_listing("Patient", own, list(EXCLUSIONS.columns), None),
        *_listing("Files", rows, heads, limit),
    ]
    return Answer(results.flow["cohort"], rows, tables, {"patients": own.to_dict("records")})


def criterion_view(
    results: Results,
    criterion: str,
    *,
    private: Path,
    show_private: bool = False,
    limit: int | None = LIMIT,
) -> Answer:
    """Return the files that fail one criterion or are flagged by it."""
    rows = criterion_rows(results, criterion)
    if show_private:
        rows = with_paths(rows, results, private)
    tables = _listing(f"Files with {criterion}", rows, _COLUMNS, limit)
    return Answer(results.flow["cohort"], rows, tables)


def file_view(
    results: Results, file_key: str, *, private: Path, show_private: bool = False
) -> Answer:
    """Return all that the ledger says of one file."""
    rows = file_rows(results, file_key)
    if show_private:
        rows = with_paths(rows, results, private)
    table = Table(title=Text(f"File {file_key.strip()}"), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, cell in rows.iloc[0].items():
        table.add_row(str(name), Text(str(cell)))
    return Answer(results.flow["cohort"], rows, [table])


def flow_view(flow: Json) -> Table:
    """Return the flow as a table that says when the cohort is synthetic."""
    cohort = flow["cohort"]
    synthetic = " - SYNTHETIC, not patients" if cohort["synthetic"] else ""
    title = f"Cohort {cohort['name']}{synthetic}"
    caption = "flagged (for review), not evaluated (for want of data): of the files included"
    # Narrow, so that a terminal of eighty characters cuts no number short.
    table = Table(title=Text(title), caption=caption, box=SIMPLE_HEAD, padding=0)
    for head in ("\ncode", "\nstep"):
        table.add_column(head, no_wrap=True)
    for head in _NUMBERS.values():
        table.add_column(head, justify="right", no_wrap=True)
    for row in flow_rows(flow):
        # A zero in the last and first columns says nothing, and would hide what does.
        cells = [f"{row[n]:,}" if row[n] or n in _REMAINING else "" for n in _NUMBERS]
        name = row["step"] if row["enabled"] else f"{row['step']} (off)"
        table.add_row(row["code"], name, *cells, style="" if row["code"] else "bold")
    return table


def criteria_view(params: Exclude) -> Table:
    """Return every criterion with its threshold, reason and source."""
    title = "Exclusion criteria, in the order in which they count"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    for head in ("code", "criterion", "scope", "threshold", "reason", "source"):
        table.add_column(head, no_wrap=head in ("code", "criterion"))
    for one in criteria_table(params):
        name = one.slug if one.enabled else f"{one.slug} (off)"
        table.add_row(one.code, name, one.scope, one.threshold, one.reason, one.source)
    return table


def _listing(
    title: str, rows: pd.DataFrame, heads: Sequence[str], limit: int | None
) -> list[RenderableType]:
    table = Table(title=Text(f"{title}: {len(rows):,}"), box=SIMPLE_HEAD, padding=0)
    present = [name for name in heads if name in rows]
    for name in present:
        table.add_column(name, no_wrap=name.endswith("_key"), overflow="fold")
    for row in rows[:limit].to_dict("records"):
        # Text, since a path may hold what rich would read as markup.
        table.add_row(*(Text(_cell(name, row[name])) for name in present))
    if limit is None or len(rows) <= limit:
        return [table]
    return [table, Text(f"{len(rows) - limit:,} more; --all shows them.")]


def _cell(name: str, value: Any) -> str:
    """Return a cell's text; a list of criteria with blanks at which it may be folded."""
    return str(value).replace(";", "; ") if name == "all_criteria" else str(value)
