"""What ``dsnet audit`` prints: tables for people, CSV or JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dsnet.audit.explain import (
    Explanation,
    count_of,
    criterion_rows,
    explain,
    file_rows,
    flow_rows,
    patient_rows,
    title_of_cohort,
    with_paths,
)
from dsnet.config.cohort import Exclude
from dsnet.exclude.criteria import criteria_table
from dsnet.match.patients import OLDEST, near_misses_sentence
from dsnet.results import Json, Results
from dsnet.schemas import HISTORIES, REGIONS

LIMIT = 40
"""Rows displayed unless all are asked for."""

_EVIDENCE = 3
"""Distinct evidence that is quoted of a patient's criterion."""

_OUTCOMES = 8
"""Kinds of outcome that are listed of a patient's files."""

_REMAINING = ("files", "images", "patients")
_COLUMNS = ("file_key", "patient_key", "outcome", "evidence", "path")
"""Of a list of files: three that a terminal of 80 characters never folds, and what is left."""

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
    notice = near_misses_sentence(flow.get("identity", {}))
    tables += [Text(notice)] if notice else []
    more = {"excluded_patients": excluded.to_dict("records"), "identity": flow.get("identity", {})}
    return Answer(flow["cohort"], pd.DataFrame(flow_rows(flow), dtype=object), tables, more)


def patient_view(
    results: Results,
    patient: str,
    *,
    private: Path,
    show_private: bool = False,
    limit: int | None = LIMIT,
) -> Answer:
    """Return why a patient is in or out, and what would have to change.

    Every file is listed under `show_private`, and without a `limit`; else those alike together.
    See `dsnet.audit.explain.patient_rows`.
    """
    rows = patient_rows(results, patient, private)
    if show_private:
        rows = with_paths(rows, results, private)
    cohort = results.flow["cohort"]
    explanations = [explain(results, key) for key in rows["patient_key"].unique()]
    tables = [table for one in explanations for table in _explanation(one, cohort)]
    if show_private or limit is None:
        heads = [name for name in _COLUMNS if name != "patient_key"]
        tables += _listing("Files", rows, heads, limit)
    return Answer(cohort, rows, tables, {"patients": [asdict(one) for one in explanations]})


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
    title = f"Cohort {title_of_cohort(flow['cohort'])}"
    caption = "flagged (for review), not evaluated (for want of data): of the files included"
    # Narrow, so that a terminal of eighty characters cuts no number short.
    table = Table(title=Text(title), caption=caption, box=SIMPLE_HEAD, padding=0, show_edge=False)
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


def _explanation(one: Explanation, cohort: Json) -> list[RenderableType]:
    """Return one patient on a screen of 80 by 24 characters; more lines if evidence is long."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _facts(one):
        # Text, since evidence may hold what rich would read as markup.
        facts.add_row(Text(name, style="dim"), Text(text))
    if one.nearest is not None:
        number = count_of(len(one.nearest["criteria"]), "criterion", "criteria")
        facts.add_row(
            Text("Nearest file", style="dim"), f"{one.nearest['file_key']} fails {number}"
        )
        for rule in one.nearest["criteria"]:
            limit = f" ({rule['threshold']})" if rule["threshold"] else ""
            facts.add_row("", Text(f"{rule['code']} {rule['slug']}{limit}"))
            facts.add_row("", Text(f"    to change: {rule['remedy']}"))
    files = Table(box=SIMPLE_HEAD, padding=0)
    for head in ("files", "criterion", "evidence", "first of them"):
        files.add_column(head, no_wrap=head != "evidence", overflow="fold")
    for row in one.outcomes[:_OUTCOMES]:
        outcome = row["criterion"] or row["status"]
        cells = (f"{row['files']:,}", outcome, row["evidence"], row["file_key"])
        files.add_row(*map(Text, cells))
    more = len(one.outcomes) - _OUTCOMES
    left_out = [Text(f"{more:,} more outcomes; --all lists every file.")] if more > 0 else []
    title = Text(f"{one.patient_key}: {one.status.upper()}   cohort {title_of_cohort(cohort)}")
    return [title, facts, files, *left_out]


def _facts(one: Explanation) -> list[tuple[str, str]]:
    facts = [("Files", f"{one.n_files:,}, {one.n_included:,} of them included")]
    if one.criterion:
        limit = f" ({one.threshold})" if one.threshold else ""
        facts.append(("Criterion", f"{one.code} {one.criterion}{limit}: {one.reason}"))
        texts = [f"{text} ({count_of(number, 'file')})" for text, number in one.evidence.items()]
        if texts:
            more = [f"{len(texts) - _EVIDENCE} more"] if len(texts) > _EVIDENCE else []
            facts.append(("Evidence", "; ".join(texts[:_EVIDENCE] + more)))
    if one.subset:
        facts.append(("Subset", f"{one.subset}, class {one.stratum}"))
    for exam in one.exams:
        scores = [f"{region} {score}" for region in REGIONS if (score := exam[f"{region}_t_score"])]
        t_scores = f"T-scores {', '.join(scores)}" if scores else "no T-score"
        interval = interval_text(exam["interval_days"])
        facts.append(("DXA exam", f"{interval} ({exam['status']}), {t_scores}"))
    if not one.exams:
        facts.append(("DXA exam", "none"))
    sex, age = one.person["sex"] or "sex unknown", one.person["age"]
    histories = ", ".join(
        f"{name.replace('_', ' ')} {one.person[name] or 'unknown'}" for name in HISTORIES
    )
    years = "age unknown" if age is None else "over 89 years" if age >= OLDEST else f"{age} years"
    facts.append(("Person", f"{sex}, {years}; {histories}"))
    return facts


def interval_text(days: str) -> str:
    """Return the days from a DXA exam to the CT in words; "" is an unknown date.

    Examples
    --------
    >>> interval_text("47"), interval_text("-109"), interval_text("0"), interval_text("")
    ('47 days before the CT', '109 days after the CT', 'on the day of the CT', 'a date is unknown')
    """
    if not days:
        return "a date is unknown"
    number = int(days)
    if number == 0:
        return "on the day of the CT"
    return f"{count_of(abs(number), 'day')} {'before' if number > 0 else 'after'} the CT"


def _listing(
    title: str, rows: pd.DataFrame, heads: Sequence[str], limit: int | None
) -> list[RenderableType]:
    if "outcome" in heads:
        rows = rows.assign(outcome=rows["criterion"].where(rows["criterion"] != "", rows["status"]))
    table = Table(title=Text(f"{title}: {len(rows):,}"), box=SIMPLE_HEAD, padding=0)
    present = [name for name in heads if name in rows]
    for name in present:
        whole = name.endswith("_key") or name == "outcome"
        table.add_column(name, no_wrap=whole, overflow="fold")
    for row in rows[:limit].to_dict("records"):
        # Text, since a path may hold what rich would read as markup.
        table.add_row(*(Text(str(row[name])) for name in present))
    if limit is None or len(rows) <= limit:
        return [table]
    return [table, Text(f"{len(rows) - limit:,} more; --all shows them.")]
