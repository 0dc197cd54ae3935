"""What a methods section says, and ``python -m dsnet.report.methods``: CLAIM and TRIPOD+AI.

Records of the trainings, settings, and sentences from the tables, which page and checklists share;
and a draft of both reporting checklists. Each function that returns a sentence returns "" where its
table was not made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from dsnet.audit.explain import count_of
from dsnet.config.load import FOLDERS, Config
from dsnet.errors import UserError
from dsnet.files import write_text
from dsnet.report.counts import Tables, read_tables, subset_counts, words
from dsnet.report.measured import Format, ResultTable, format_cell, in_words, read_result_tables
from dsnet.results import Json, Results
from dsnet.step import run
from dsnet.tables import title_of

PUBLISHED = ("none", "paper", "imagenet", "coco")
"""Values of ``detector.weights`` that are no path."""


def read_records(results: Results) -> list[Json]:
    """Return the record of every training, by name.

    Returns
    -------
    list of dict
        ``name``, ``commit``, ``device``, ``precision``, ``seed``; ``data``, the SHA-256 of the
        slice store's digest, and ``current``, whether those are the slices at hand; ``epoch``,
        ``parameters``, ``minutes`` of wall time, ``versions``; ``settings`` of detector and
        training, and ``grid`` of the slices.

    Raises
    ------
    UserError
        If one is not what training writes.
    """
    records = []
    here = results.slices_sha256 if (results.cohort / "slices.json").exists() else ""
    for training in results.runs():
        name = f"models/{training}/manifest.json"
        try:
            records.append(_record(results.json(name), here))
        except KeyError as error:
            raise UserError(
                name,
                expected="the record that training writes",
                came=f"one without {error}",
                remedy="delete its folder and run the workflow, or bring the right one back",
            ) from error
    return records


def settings(config: Config) -> Json:
    """Return the config as JSON values, without the folders and files of this machine.

    A page that travels does not show them.
    """
    values = config.model_dump(mode="json", exclude=set(FOLDERS))
    # That a file was named is what matters, not where it lies.
    values["split"]["file"] = values["split"]["file"] and "a file"
    if values["detector"]["weights"] not in PUBLISHED:
        values["detector"]["weights"] = "a file"
    return values


def flat(values: Json, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as dotted keys and their values, in order.

    Examples
    --------
    >>> flat({"split": {"seed": 0, "file": None}})
    [('split.seed', '0'), ('split.file', 'null')]
    """
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _setting(value)))
    return pairs


def _record(manifest: Json, slices_sha256: str) -> Json:
    settings, data = manifest["settings"], manifest["data"]
    variant, machine, result = settings["variant"], manifest["machine"], manifest["result"]
    return {
        "name": f"{variant['backbone']}/{variant['attention']}, seed {settings['seed']}",
        "commit": manifest["commit"],
        "device": f"{machine['device']} ({machine['name']}, {machine['threads']} threads)",
        "precision": machine["precision"],
        "data": data["digest_sha256"],
        "current": data["digest_sha256"] == slices_sha256,
        "epoch": result["epoch"],
        "parameters": result["parameters"],
        "minutes": result["seconds"] / 60,
        "versions": manifest["versions"],
        "seed": settings["seed"],
        "settings": {name: settings[name] for name in ("detector", "train")},
        "grid": {name: data[name] for name in ("size_px", "pixel_mm")},
    }


def _setting(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(_setting(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(one)}" for key, one in value.items())
    return str(value)


Rows = Sequence[Mapping[str, str]]

_RILEY = {
    "observed_by_expected": "observed by expected",
    "calibration_slope": "the calibration slope",
    "c_statistic": "the C statistic",
}


def rows_of(reported: Sequence[ResultTable], name: str) -> Rows:
    """Return the rows of a table; none where it was not made."""
    return next((table.raw for table in reported if table.name == name), [])


def sample_size(reported: Sequence[ResultTable]) -> str:
    """Return how precise the figures of the first method are, and what more would take."""
    rows = rows_of(reported, "sample_size")
    own = [row for row in rows if row["method"] == rows[0]["method"]]
    precise = [
        f"{in_words(row['figure'].removeprefix('patient_'))} {_figure(row, 'half_width')} points "
        f"(5 points: {row['test_patients_needed']} test patients)"
        for row in own
        if row["half_width"] and row["test_patients_needed"]
    ]
    riley = [
        f"{_RILEY[row['figure']]} {row['needed']}"
        for row in own
        if row["figure"] in _RILEY and row["needed"]
    ]
    if not precise:
        return ""
    text = (
        f"With {own[0]['test_patients']} test patients, half widths of the 95 % intervals of "
        f"{own[0]['method']} were: {', '.join(precise)}."
    )
    if riley:
        text += (
            " Patients that the criteria of Riley et al. (2021) for the test of a binary "
            f"prediction model ask for: {', '.join(riley)}."
        )
    return text


def subgroups(reported: Sequence[ResultTable], traits: Sequence[str] = ()) -> str:
    """Return the primary statistic of the last detector by group of patients.

    Parameters
    ----------
    reported : sequence of ResultTable
    traits : sequence of str
        Which; all by default.
    """
    rows = rows_of(reported, "subgroups")
    own = [row for row in rows if row["method"] == rows[-1]["method"]]
    groups = [
        f"{row['trait']} {row['group']} {_figure(row, 'map')}, n = {row['group_patients']}"
        for row in own
        if row["trait"] in (traits or {one["trait"] for one in own} - {"all"})
        and row["group_patients"] != "hidden"
    ]
    if not groups:
        return ""
    return (
        f"map in percent of {title_of(own[0]['method'])} by group of test patients (exploratory): "
        f"{'; '.join(groups)}."
    )


def external(reported: Sequence[ResultTable]) -> str:
    """Return the primary statistic of each detector on each external cohort."""
    rows = rows_of(reported, "external")
    lines = [
        f"{row['method']} on {row['cohort']} ({row['test_patients']} patients): map "
        f"{_figure(row, 'map')} %, {_figure(row, 'map_difference')} points to internal"
        for row in rows
        if row["cohort"] != "internal" and row["map"]
    ]
    return "; ".join(lines) + "." if lines else ""


def clinical(reported: Sequence[ResultTable]) -> str:
    """Return the net benefit of the first method at 20 %, and the agreement of HU with DXA."""
    decisions = [row for row in rows_of(reported, "decision") if float(row["threshold"]) == 20]
    benefit = [
        f"Net benefit of {row['method']} at a threshold of 20 %: "
        f"{_figure(row, 'net_benefit')} per 100 patients (DXA for all "
        f"{_figure(row, 'net_benefit_all')}, for none 0; osteoporosis "
        f"{_figure(row, 'prevalence')} %)."
        for row in decisions[:1]
    ]
    agreements = [
        f"T-score from HU against DXA, {row['cohort']}, {row['test_patients']} patients: r "
        f"{_figure(row, 'r', 'two')}, bias {_figure(row, 'bias', 'two')}, limits of agreement "
        f"{_figure(row, 'lower_limit', 'two')} to {_figure(row, 'upper_limit', 'two')}."
        for row in rows_of(reported, "agreement")
        if row["r"]
    ]
    return " ".join(benefit + agreements)


def paragraph(
    tables: Tables, config: Config, proof: Json | None, reported: Sequence[ResultTable]
) -> str:
    """Return a paragraph for a methods section, as far as the records go; "" without a split."""
    if proof is None:
        return ""
    counts = {name: rows["all"] for name, rows in subset_counts(tables).items()}
    subsets = ", ".join(
        f"{name} ({count_of(patients, 'patient')}, {count_of(images, 'slice')})"
        for name, (patients, images) in counts.items()
    )
    point = config.evaluate
    sentences = [
        "Data are synthetic, not of patients." if tables.synthetic else "",
        f"Of {count_of(tables.flow['found']['patients'], 'patient')}, "
        f"{tables.flow['included']['patients']:,} were included by criteria fixed in the config. "
        f"Vertebrae were graded by the DXA T-score of the {config.label.t_score} (WHO classes). "
        f"Subsets were disjoint by {proof['unit']} and stratified by class: {subsets}.",
        f"A detection counted from a score of {point.score:g} and an overlap (IoU) of "
        f"{point.iou:g}; map (AP at IoU 0.5) was primary. Patients were the unit of all intervals: "
        f"percentile bootstrap with {point.bootstrap:,} resamples for average precision and areas "
        "under ROC curves, Clopper-Pearson with the effective number of units for shares.",
        sample_size(reported),
        _groups(reported, tables, config),
        clinical(reported),
        _external_method(reported),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _groups(reported: Sequence[ResultTable], tables: Tables, config: Config) -> str:
    rows = rows_of(reported, "subgroups")
    traits = list(dict.fromkeys(row["trait"] for row in rows if row["trait"] != "all"))
    if not traits:
        return ""
    hidden = f"; groups of fewer than {config.report.min_cell} patients were hidden"
    return (
        f"Figures by {', '.join(traits)} are exploratory, without correction for their number"
        f"{'' if tables.synthetic or not config.report.min_cell else hidden}."
    )


def _external_method(reported: Sequence[ResultTable]) -> str:
    rows = rows_of(reported, "external")
    cohorts = {row["cohort"]: row["test_patients"] for row in rows if row["cohort"] != "internal"}
    if not cohorts:
        return "There was no test on patients of another hospital."
    named = ", ".join(f"{name} ({patients} patients)" for name, patients in cohorts.items())
    return (
        f"All included patients of {named} were tested with the same weights, temperature and "
        "operating point; criteria, grid and labels were the same, nothing was fitted on them, "
        "and no image had the pixels of an internal one. Differences between cohorts have "
        "intervals by the method of variance estimates recovery (Zou and Donner 2008). "
        f"{external(reported)}"
    )


def _figure(row: Mapping[str, str], name: str, kind: Format = "decimal") -> str:
    """Return a figure of a row with its interval, both rounded as the report's tables are."""
    value, low, high = (
        format_cell(row.get(f"{name}{bound}", ""), kind) for bound in ("", "_low", "_high")
    )
    return f"{value} ({low} to {high})" if "-" not in (value, low, high) else value


def environment() -> jinja2.Environment:
    """Return the templates; a name without a value is an error, text is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dsnet.report"),
        autoescape=jinja2.select_autoescape(("html.jinja",), default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": "{:,}".format, "count_of": count_of, "words": words}
    return made


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
            sample_size=sample_size(reported),
            subgroups=subgroups(reported),
            fairness=subgroups(reported, ("sex", "age")),
            external=external(reported),
            clinical=clinical(reported),
            paragraph=paragraph(tables, config, proof, reported),
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
    for row in rows_of(reported, "table1"):
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
