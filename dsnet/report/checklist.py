"""``python -m dsnet.report.checklist``: a draft of the reporting checklists CLAIM and TRIPOD+AI."""

from collections.abc import Mapping
from pathlib import Path

from dsnet.audit.explain import count_of
from dsnet.config.load import Config
from dsnet.files import write_text
from dsnet.report import methods_section
from dsnet.report.counts import Tables, read_tables, subset_counts, words
from dsnet.report.measured import ResultTable, read_result_tables
from dsnet.report.methods_section import PUBLISHED, read_records
from dsnet.report.step import environment
from dsnet.results import Json, Results
from dsnet.step import run

_MEASURES = ("map", "recall", "accuracy")


def checklist(*, config: Config, results: Path, checklist: Path) -> None:
    """Write the checklists with what the run's own records say, and blanks for the rest.

    Parameters
    ----------
    config : Config
    results : Path
        The results folder: the cohort's tables, and those tables and trainings that exist.
    checklist : Path
        Written: Markdown. Items are paraphrased; their wording is that of the publications named.

    Raises
    ------
    UserError
        If a table is missing, is not what its step writes, or counts something else than another.
    """
    read = Results(results)
    tables = read_tables(read)
    proof = read.split_proof if tables.split_made else None
    reported, _ = read_result_tables(read)
    records = read_records(read)
    text = (
        environment()
        .get_template("checklist.md.jinja")
        .render(
            tables=tables,
            flow=tables.flow,
            config=config,
            proof=proof,
            removed=_removed(tables.flow),
            subsets=_subsets(tables),
            performance=_performance(reported),
            sample_size=methods_section.sample_size(reported),
            subgroups=methods_section.subgroups(reported),
            fairness=methods_section.subgroups(reported, ("sex", "age")),
            external=methods_section.external(reported),
            clinical=methods_section.clinical(reported),
            paragraph=methods_section.paragraph(tables, config, proof, reported),
            training=_training(records),
            used=_used(config, records),
            published=PUBLISHED,
        )
    )
    write_text(checklist, text)


def _removed(flow: Json) -> str:
    acting = [step for step in flow["steps"] if any(step["removed"].values())]
    return "; ".join(
        f"{words(step['slug'])}: {count_of(step['removed']['files'], 'file')}, "
        f"{count_of(step['removed']['patients'], 'patient')}"
        for step in acting
    )


def _subsets(tables: Tables) -> str:
    return "; ".join(
        f"{subset}: {count_of(rows['all'][0], 'patient')}, {count_of(rows['all'][1], 'image')} ("
        + ", ".join(f"{name} {count[0]}" for name, count in rows.items() if name != "all")
        + ")"
        for subset, rows in subset_counts(tables).items()
    )


def _performance(reported: list[ResultTable]) -> str:
    """Return the measures of Table 1, "" where it was not made."""
    lines = []
    for row in methods_section.rows_of(reported, "table1"):
        measured = [f"{name} {_with_interval(row, name)}" for name in _MEASURES if name in row]
        lines.append(f"{row['backbone']} + {row['attention']}: {', '.join(measured)} %")
    return "; ".join(lines)


def _with_interval(row: Mapping[str, str], name: str) -> str:
    """Return a figure of a CSV row with its interval, as both are written there.

    Examples
    --------
    >>> _with_interval({"map": "70.1", "map_low": "60", "map_high": "80"}, "map")
    '70.1 (60 to 80)'
    """
    low, high = row.get(f"{name}_low", ""), row.get(f"{name}_high", "")
    return f"{row[name]} ({low} to {high})" if row[name] and low and high else row[name]


def _used(config: Config, records: list[Json]) -> Json:
    """Return the settings that the trainings record, those of the config where there is none."""
    if records:
        seeds = sorted({record["seed"] for record in records})
        return {**records[0]["settings"], "grid": records[0]["grid"], "seeds": seeds}
    values = config.model_dump(mode="json")
    return {**values, "grid": values["slices"], "seeds": values["train"]["seeds"]}


def _training(records: list[Json]) -> Json | None:
    """Return what all trainings share, and how many there were; None where there was none."""
    if not records:
        return None
    distinct = {
        name: ", ".join(sorted({str(record[name]) for record in records}))
        for name in ("commit", "device", "precision", "data")
    }
    versions = ", ".join(f"{name} {version}" for name, version in records[0]["versions"].items())
    minutes = sum(record["minutes"] for record in records)
    return {**distinct, "count": len(records), "versions": versions, "minutes": f"{minutes:.0f}"}


if __name__ == "__main__":
    run(checklist)
