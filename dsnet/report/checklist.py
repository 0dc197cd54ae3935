"""``python -m dsnet.report.checklist``: a draft of the reporting checklists CLAIM and TRIPOD+AI."""

from pathlib import Path
from typing import Any

from dsnet.config.load import Config
from dsnet.files import write_text
from dsnet.report.diagram import part_counts
from dsnet.report.page import environment
from dsnet.report.record import PUBLISHED, Record, read_records
from dsnet.report.results import ResultTable, read_results
from dsnet.report.stages import many, words
from dsnet.report.tables import Json, Tables, read_json, read_tables
from dsnet.step import run

_MEASURES = ("map", "recall", "accuracy")


def draft(
    *,
    config: Config,
    results: Path,
    flow: Path,
    ledger: Path,
    exclusions: Path,
    labels: Path,
    split: Path,
    proof: Path,
    checklist: Path,
) -> None:
    """Write the checklists with what the run's own records say, and blanks for the rest.

    Parameters
    ----------
    config : Config
    results : Path
        The results folder, for whatever there is of tables and trainings.
    flow, ledger, exclusions, labels, split, proof : Path
        What the steps of the cohort wrote.
    checklist : Path
        Written: Markdown. Items are paraphrased; their wording is that of the publications named.

    Raises
    ------
    UserError
        If an input is missing, is not what its step writes, or counts something else than another.
    """
    tables = read_tables(
        flow=flow, ledger=ledger, exclusions=exclusions, labels=labels, split=split
    )
    shown, _ = read_results(results)
    records = read_records(results / "models")
    template = environment().get_template("checklist.md.jinja")
    text = template.render(
        tables=tables,
        flow=tables.flow,
        config=config,
        proof=read_json(proof, "shared", "unit", "source", "seed"),
        removed=_removed(tables.flow),
        parts=_parts(tables),
        performance=_performance(shown),
        training=_training(records),
        used=_used(config, records),
        published=PUBLISHED,
    )
    write_text(checklist, text)


def _removed(flow: Json) -> str:
    acting = [step for step in flow["steps"] if any(step["removed"].values())]
    return "; ".join(
        f"{words(step['slug'])}: {many(step['removed']['files'], 'file')}, "
        f"{many(step['removed']['patients'], 'patient')}"
        for step in acting
    )


def _parts(tables: Tables) -> str:
    return "; ".join(
        f"{part}: {many(rows['all'][0], 'patient')}, {many(rows['all'][1], 'image')} ("
        + ", ".join(f"{name} {count[0]}" for name, count in rows.items() if name != "all")
        + ")"
        for part, rows in part_counts(tables).items()
    )


def _performance(shown: list[ResultTable]) -> str:
    """Return the measures of Table 1, "" where it was not made."""
    lines = []
    for table in (table for table in shown if table.name == "table1"):
        for row in table.rows:
            cells = dict(zip(table.heads, row, strict=True)) | dict(table.same)
            measured = ", ".join(f"{name} {cells[name]}" for name in _MEASURES if name in cells)
            lines.append(f"{cells['backbone']} + {cells['attention']}: {measured} %")
    return "; ".join(lines)


def _used(config: Config, records: list[Record]) -> Json:
    """Return the settings that the trainings record, those of the config where there is none."""
    if records:
        seeds = sorted({record.seed for record in records})
        return {**records[0].settings, "grid": records[0].grid, "seeds": seeds}
    told = config.model_dump(mode="json")
    return {**told, "grid": told["slices"], "seeds": told["train"]["seeds"]}


def _training(records: list[Record]) -> dict[str, Any] | None:
    """Return what all trainings share, and how many there were; None where there was none."""
    if not records:
        return None
    distinct = {
        name: ", ".join(sorted({str(getattr(record, name)) for record in records}))
        for name in ("commit", "device", "precision", "data")
    }
    versions = ", ".join(f"{name} {version}" for name, version in records[0].versions.items())
    minutes = sum(record.minutes for record in records)
    return {**distinct, "count": len(records), "versions": versions, "minutes": f"{minutes:.0f}"}


if __name__ == "__main__":
    run(draft)
