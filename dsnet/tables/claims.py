"""Every claim of the tables with its method and its assumption: ``python -m dsnet.tables.claims``.

One section for each kind of claim: the figures as the tables print them, how their intervals and
p-values are made, and what must hold for them to mean what they say.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from dsnet.evaluate.intervals import METHODS
from dsnet.evaluate.metrics import ALPHA
from dsnet.files import read_json, write_text
from dsnet.step import run
from dsnet.tables import (
    BOUNDS,
    Entry,
    Json,
    evaluation_note,
    is_baseline,
    read_csv,
    read_entry,
    title_of,
)

AVERAGE_PRECISION = ("map", "box_ap50", "patient_macro_auc")
SHARES = (
    "recall",
    "accuracy",
    "localised_accuracy",
    "patient_accuracy",
    "patient_sensitivity_osteoporosis",
    "patient_specificity_osteoporosis",
)
CALIBRATION = (
    "localised_brier",
    "localised_calibration_intercept",
    "localised_calibration_slope",
    "localised_ece_debiased",
)

PATIENTS = (
    "The test patients are independent of each other and a random sample of the patients that are "
    "meant; slices of one patient need not be independent."
)
TRAININGS = {
    True: "The seeds are a random sample of the trainings that the settings can give, on this "
    "training subset; other training patients are not considered.",
    False: "Nothing is said about another training with the same settings.",
}
OTHER_TABLES = (
    (
        "Groups of patients",
        "subgroups.csv",
        "Each group as if there were no other patients, with the intervals above. Nothing is "
        "tested between groups, and nothing corrected for their number: exploratory.",
        PATIENTS,
    ),
    (
        "Sample size",
        "sample_size.csv",
        "Half widths of the intervals above; exact (Clopper-Pearson) numbers for proportions, the "
        "square-root law for others; Riley et al. 2021 for the test of a binary model.",
        "The values found are those that a larger test would find, at the same prevalence.",
    ),
    (
        "Net benefit",
        "decision.csv",
        f"Vickers and Elkin 2006. {METHODS['bootstrap'].capitalize()}; the first seed.",
        f"{PATIENTS} It holds for the share of osteoporosis in this test subset alone.",
    ),
    (
        "Agreement of a T-score from HU with DXA",
        "agreement.csv",
        "A line through training and validation patients; Fisher's interval of r, Bland and Altman "
        "1999 for bias and limits.",
        f"{PATIENTS} The differences are about normal and as wide at each T-score.",
    ),
    (
        "External cohorts",
        "external.csv, where the config names any",
        "The intervals above for each cohort; of the difference, the method of variance estimates "
        "recovery (Zou and Donner 2008) from both.",
        f"{PATIENTS} No patient is in two cohorts: shared pixels stop the run, but patients who "
        "share no image cannot be seen.",
    ),
)
"""Title, table, method and assumption of claims whose figures stand in a table of their own."""

COVERAGE_NOTE = "How often such intervals cover in simulations: docs/statistics.md."

_Cell = Callable[[Entry, str], str]


def write_claims(
    *,
    variants: list[str],
    baselines: list[str],
    metrics: Path,
    differences: Path,
    leakage: Path,
    speed: Path,
    claims: Path,
) -> None:
    """Write the claims as Markdown.

    Parameters
    ----------
    variants : list of str
        Detectors, as ``backbone/attention``.
    baselines : list of str
        Methods without training seeds, ``hu/...``.
    metrics : Path
        Folder of ``{backbone}/{attention}.json`` and ``hu/....json``.
    differences, leakage : Path
        As `dsnet.evaluate.compare` and `dsnet.tables.other_data` write them.
    speed : Path
        As `dsnet.inference.speed` writes it.
    claims : Path
        Markdown to write.
    """
    entries = [read_entry(name, metrics) for name in (*variants, *baselines)]
    text = claims_text(entries, read_csv(differences), read_csv(leakage), read_json(speed))
    write_text(claims, text)


def claims_text(
    entries: Sequence[Entry], differences: pd.DataFrame, leakage: pd.DataFrame, speed: Json
) -> str:
    """Return the document.

    Parameters
    ----------
    entries : sequence of Entry
        The detector of the first comes first.
    differences, leakage : DataFrame
        Tables as read from their CSV.
    speed : dict
    """
    report = entries[0].report
    several = len(report["seeds"]) > 1
    assumption = f"{PATIENTS} {TRAININGS[several]}"
    detectors = [entry for entry in entries if not is_baseline(entry.name)]
    sections = [
        "# Claims, methods and assumptions",
        f"Data: {evaluation_note(report)}. Intervals: 95 %. Random in the detectors' intervals and "
        f"p-values: {report['interval']['scope']}; in those of the baselines, which have no seeds: "
        "patients.",
        _section(
            "Average precision and areas under ROC curves",
            _statistics(entries, AVERAGE_PRECISION, _percent),
            f"{METHODS['bootstrap'].capitalize()}. {COVERAGE_NOTE}",
            assumption,
        ),
        _section(
            "Shares of boxes and of patients",
            _statistics(entries, SHARES, _percent),
            f"{METHODS['share']}. {COVERAGE_NOTE}",
            assumption,
        ),
        _section(
            "Calibration of the localised boxes",
            _statistics(entries, CALIBRATION, _plain),
            f"Brier score, intercept and slope: {METHODS['bootstrap']}. Calibration error: "
            "debiased, without an interval, since none covers it.",
            assumption,
        ),
        _section(
            "Above chance",
            _chance(detectors),
            f"One-sided permutation test of {report['chance']['permutations']} permutations of the "
            "patients' classes, a patient's levels as one profile; the statistic is map, the mean "
            f"over the seeds; above chance means p <= {ALPHA:g}.",
            "If images said nothing about classes, every assignment of the patients' profiles to "
            "the patients would be as likely. Only these trainings are tested.",
        ),
        _section("Differences between modules", *_differences(differences, several)),
        _section(
            "Leakage",
            _leakage(leakage),
            "True labels: as above. Shuffled labels: quantiles over the shuffles of the HU models; "
            "the detector learns one shuffle, which decides nothing.",
            "Shuffled labels keep each patient's profile, so that only the relation between images "
            "and classes is broken.",
        ),
        _section(
            "Speed",
            _speed(speed),
            f"Median over {speed['images']} images, all detectors in turn on each image in one run "
            f"on {speed['name']}; ratios with the percentile bootstrap over the images.",
            "The images are a sample of those to come, and the machine does the same work for all "
            "detectors; another machine may order them otherwise.",
        ),
    ]
    sections += [
        _section(title, f"Figures: {table}.", method, assumption)
        for title, table, method, assumption in OTHER_TABLES
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, claims: str, method: str, assumption: str) -> str:
    return f"## {title}\n\n{claims}\n\nMethod: {method}\n\nAssumption: {assumption}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _statistics(entries: Sequence[Entry], names: Sequence[str], cell: _Cell) -> str:
    rows = []
    for entry in entries:
        has = entry.report["metrics"]
        rows.append((title_of(entry.name), *(cell(entry, n) if n in has else "-" for n in names)))
    return _table(("method", *names), rows)


def _percent(entry: Entry, name: str) -> str:
    values = (entry.value(name, bound) for bound in BOUNDS.values())
    return _bounds(*(None if value is None else 100 * value for value in values), unit=" %")


def _plain(entry: Entry, name: str) -> str:
    return _bounds(*(entry.value(name, bound) for bound in BOUNDS.values()), digits=2)


def _chance(entries: Sequence[Entry]) -> str:
    rows = []
    for entry in entries:
        chance = entry.report["chance"]
        words = "above chance" if chance["above_chance"] else "NOT above chance"
        rows.append(
            (
                title_of(entry.name),
                _percent(entry, "map"),
                f"{100 * chance['p975']:.1f} %",
                f"{chance['p_value']:.3g}",
                words,
            )
        )
    return _table(("detector", "map", "97.5 % of permutations below", "p", "claim"), rows)


def _differences(differences: pd.DataFrame, several: bool) -> tuple[str, str, str]:
    """Return claims, method and assumption; percent points."""
    rows = [
        (
            title_of(f"{row['backbone']}/{row['attention']}"),
            row["statistic"],
            row["role"],
            _bounds(row["difference"], row["low"], row["high"], unit=" points", sign="+"),
            *("-" if pd.isna(row[name]) else f"{row[name]:.3g}" for name in ("p", "p_holm")),
        )
        for row in differences.to_dict("records")
    ]
    heads = ("detector, to no attention", "statistic", "role", "difference", "p", "p after Holm")
    if not several:
        method = (
            "Percentile bootstrap over patients of the difference between these two trainings. No "
            "p-value: two trainings with the same settings differ, too, so that a difference "
            "between these two trainings says nothing about the modules."
        )
        return _table(heads, rows), method, f"{PATIENTS} {TRAININGS[False]}"
    method = (
        "Obuchowski-Rockette analysis with Hillis's degrees of freedom, trainings in the role of "
        "readers: the trainings of a seed are paired, patients and trainings are random; two-sided "
        "p-values. Modules are tested on map alone, with Holm's correction over them; the other "
        "statistics are exploratory, their p-values not corrected."
    )
    assumption = f"{PATIENTS} {TRAININGS[True]} The mean difference over the seeds is about normal."
    return _table(heads, rows), method, assumption


def _leakage(leakage: pd.DataFrame) -> str:
    named = ["method", "split", "labels", "statistic"]
    rows = [
        (
            *(row[name] for name in named),
            _bounds(*(row[b] for b in BOUNDS.values())),
            row["verdict"],
        )
        for row in leakage.to_dict("records")
    ]
    return _table((*named, "percent", "meaning"), rows)


def _speed(speed: Json) -> str:
    rows = []
    for row in speed["variants"]:
        ratio = _bounds(*(row[f"fps_to_none{suffix}"] for suffix in BOUNDS), digits=3)
        rows.append((title_of(f"{row['backbone']}/{row['attention']}"), f"{row['fps']:.3g}", ratio))
    return _table(("detector", "images/s", "to the same backbone without attention"), rows)


def _bounds(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    digits: int = 1,
    unit: str = "",
    sign: str = "",
) -> str:
    if pd.isna(value):
        return "undefined"
    text = f"{value:{sign}.{digits}f}{unit}"
    if pd.isna(low) or pd.isna(high):
        return text
    return f"{text} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    run(write_claims)
