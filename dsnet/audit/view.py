"""What ``dsnet audit`` and ``dsnet criteria`` print."""

from pathlib import Path

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dsnet.audit.flow import flow_table, read_flow
from dsnet.audit.rows import (
    Private,
    criterion_rows,
    file_rows,
    patient_rows,
    patients,
    with_paths,
)
from dsnet.config import Exclude
from dsnet.exclude.registry import criteria_table

__all__ = [
    "LIMIT",
    "Private",
    "criteria_view",
    "criterion_view",
    "file_view",
    "flow_view",
    "overview",
    "patient_view",
]

LIMIT = 40
"""Rows shown unless all are asked for."""

_REMAINING = ("files", "images", "patients")
_ROW_COLUMNS = ("file_key", "patient_key", "status", "criterion", "evidence", "all_criteria")


def overview(results: Path, *, limit: int | None = LIMIT) -> list[RenderableType]:
    """Return the flow, and the excluded patients with their reasons.

    Parameters
    ----------
    results : Path
    limit : int or None
        How many patients to show; None for all.
    """
    excluded = patients(results)
    excluded = excluded[excluded["status"] == "excluded"]
    columns = ["patient_key", "n_files", "criterion", "reason"]
    return [flow_view(results), *_view("Excluded patients", excluded[columns], limit)]


def patient_view(
    results: Path, patient: str, *, private: Private, limit: int | None = LIMIT
) -> list[RenderableType]:
    """Return one patient's outcome and files; see `dsnet.audit.rows.patient_rows`."""
    rows = patient_rows(results, patient, private)
    every = patients(results)
    own = every[every["patient_key"].isin(set(rows["patient_key"]))]
    shown = _shown(rows, private).drop(columns="patient_key")
    return [*_view("Patient", own, None), *_view("Files", shown, limit)]


def criterion_view(
    results: Path, criterion: str, *, private: Private, limit: int | None = LIMIT
) -> list[RenderableType]:
    """Return the files on which one criterion was found."""
    rows = criterion_rows(results, criterion)
    return _view(f"Files with {criterion}", _shown(rows, private), limit)


def file_view(results: Path, file_key: str, *, private: Private) -> list[RenderableType]:
    """Return all that the ledger says of one file."""
    rows = file_rows(results, file_key)
    table = Table(title=Text(f"File {file_key.strip()}"), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    (row,) = (with_paths(rows, private) if private.show else rows).to_dict("records")
    for name, cell in row.items():
        table.add_row(str(name), Text(str(cell)))
    return [table]


def flow_view(results: Path) -> Table:
    """Return the flow as a table that says when the cohort is synthetic."""
    told = read_flow(results)["cohort"]
    title = f"Cohort {told['name']}" + (" - SYNTHETIC, not patients" if told["synthetic"] else "")
    table = Table(title=Text(title), caption="flagged, not evaluated: of the files included")
    table.add_column("code")
    table.add_column("step", no_wrap=True)
    numbers = {
        "files_removed": "- files",
        "patients_removed": "- patients",
        "files": "files",
        "images": "images",
        "patients": "patients",
        "flagged": "flagged",
        "not_evaluated": "not evaluated",
    }
    for head in numbers.values():
        table.add_column(head, justify="right")
    for row in flow_table(results).to_dict("records"):
        # A zero in the last and first columns says nothing, and would hide what does.
        cells = [f"{row[n]:,}" if row[n] or n in _REMAINING else "" for n in numbers]
        name = row["step"] if row["enabled"] else f"{row['step']} (off)"
        table.add_row(row["code"], name, *cells, style="" if row["code"] else "bold")
    return table


def criteria_view(params: Exclude) -> Table:
    """Return every criterion with its threshold, reason and source."""
    table = Table(title="Exclusion criteria, in the order in which they count")
    for head in ("code", "criterion", "scope", "threshold", "reason", "source"):
        table.add_column(head, no_wrap=head in ("code", "criterion"))
    for one in criteria_table(params):
        name = one.slug if one.enabled else f"{one.slug} (off)"
        table.add_row(one.code, name, one.scope, one.threshold, one.reason, one.source)
    return table


def _shown(rows: pd.DataFrame, private: Private) -> pd.DataFrame:
    columns = list(_ROW_COLUMNS)
    if private.show:
        return with_paths(rows, private)[[*columns, "path"]]
    return rows[columns]


def _view(title: str, rows: pd.DataFrame, limit: int | None) -> list[RenderableType]:
    table = Table(title=Text(f"{title}: {len(rows):,}"))
    for name in rows.columns:
        table.add_column(str(name), no_wrap=str(name).endswith("_key"), overflow="fold")
    for cells in rows.head(len(rows) if limit is None else limit).itertuples(index=False):
        # Text, since a path may hold what rich would read as markup.
        table.add_row(*(Text(str(cell)) for cell in cells))
    if limit is None or len(rows) <= limit:
        return [table]
    return [table, Text(f"{len(rows) - limit:,} more; --all shows them.")]
