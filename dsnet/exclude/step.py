"""The exclusion step: index and matched tables in; ledger, patients and flow of the cohort out."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.config.cohort import Exclude, Label
from dsnet.exclude.criteria import criteria_table
from dsnet.exclude.criterion import REVIEW, Mask, gather
from dsnet.exclude.ledger import Outcome, apply_criteria, exclusions_table, ledger_table
from dsnet.files import write_json
from dsnet.match.patients import near_misses_sentence
from dsnet.results import Source, read_source
from dsnet.schemas import REGIONS
from dsnet.step import run


def exclude(
    *,
    exclude: Exclude,
    label: Label,
    source: Path,
    index: Path,
    boxes: Path,
    exams: Path,
    patients: Path,
    decisions: Path,
    ledger: Path,
    exclusions: Path,
    flow: Path,
) -> str | None:
    """Apply every criterion to every file of the index, and write why it is in or out.

    Parameters
    ----------
    exclude : Exclude
    label : Label
        Its ``t_score`` selects the T-score that labels a vertebra.
    source : Path
        Names the cohort.
    index, boxes, exams, patients, decisions : Path
        `schemas.INDEX`, and what the match step wrote.
    ledger, exclusions, flow : Path
        Written: one row per file, one per patient, and the counts as JSON.

    Returns
    -------
    str or None
        What the user should know of patient IDs that nearly equal others.
    """
    people = schemas.read(schemas.PATIENTS, patients)
    examined = schemas.read(schemas.EXAMS, exams)
    files = gather(
        schemas.read(schemas.INDEX, index),
        used(schemas.read(schemas.ANNOTATIONS, boxes)),
        examined,
        people,
        t_score=label.t_score,
    )
    outcome = apply_criteria(files, exclude, schemas.read(schemas.DECISIONS, decisions))
    by_patient = exclusions_table(files, outcome)
    schemas.write(schemas.LEDGER, ledger_table(files, outcome, exclude), ledger)
    schemas.write(schemas.EXCLUSIONS, by_patient, exclusions)
    counts = flow_counts(files, outcome, by_patient, exclude, read_source(source.parents[1]))
    identity = match_counts(files, people, examined)
    write_json(flow, {**counts, "identity": identity})
    return near_misses_sentence(identity)


@dataclass(frozen=True)
class Count:
    """How much of the cohort a set of files is.

    Attributes
    ----------
    files : int
    images, patients : int
        Distinct keys; a file without a header has none.
    """

    files: int
    images: int
    patients: int


class Counter:
    """Counts sets of files fast: keys are numbered once.

    Parameters
    ----------
    files : DataFrame
        With ``image_key`` and ``patient_key``, "" where there is none.
    """

    def __init__(self, files: pd.DataFrame) -> None:
        self._images, self._patients = (
            np.asarray(pd.factorize(files[key].mask(files[key] == ""))[0])
            for key in ("image_key", "patient_key")
        )

    def __call__(self, where: Mask) -> Count:
        """Return the count of the files at `where`."""
        images, patients = (
            np.unique(codes[where & (codes >= 0)]).size for codes in (self._images, self._patients)
        )
        return Count(int(where.sum()), images, patients)


def flow_counts(
    files: pd.DataFrame,
    outcome: Outcome,
    exclusions: pd.DataFrame,
    params: Exclude,
    source: Source,
) -> dict[str, Any]:
    """Return the flow of the cohort through the criteria, ready for JSON.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.criterion.gather` returns them.
    outcome : Outcome
    exclusions : DataFrame
        `schemas.EXCLUSIONS`.
    params : Exclude
    source : Source

    Returns
    -------
    dict
        ``cohort`` (name, synthetic); ``found``, the counts of the index; ``files_without_patient``;
        ``steps``, a reader's exclusions first, then every criterion in order: its description (of
        which ``stage`` is a key of `dsnet.exclude.criterion.STAGES`), with the counts that it
        ``removed`` and that ``remain`` after it, what ``failed`` it at all, what of the files
        included is ``flagged`` for review by it or was ``not_evaluated``, and of how many patients
        it is the criterion in ``exclusions.csv``; ``included``, and of these, what any criterion
        flagged or could not evaluate. Files removed and included add up to the files of the index.
    """
    count = Counter(files)
    nothing = np.zeros(len(files), dtype=bool)
    remaining, included = ~nothing, outcome.included
    steps = []
    for description in (REVIEW, *criteria_table(params)):
        slug = description.slug
        before = count(remaining)
        remaining = remaining & (outcome.criterion != slug)
        after = count(remaining)
        finding = outcome.findings.get(slug)
        failed = finding.fails if finding else outcome.excluding.get(slug, nothing)
        steps.append(
            {
                **asdict(description),
                "removed": asdict(_difference(before, after)),
                "remain": asdict(after),
                "failed": asdict(count(failed)),
                "flagged": asdict(count(included & finding.flags if finding else nothing)),
                "not_evaluated": asdict(count(included & finding.unknown if finding else nothing)),
                "patients_excluded": int((exclusions["criterion"] == slug).sum()),
            }
        )
    return {
        "cohort": {"name": source.name, "synthetic": source.synthetic},
        "found": asdict(count(~nothing)),
        "files_without_patient": int((files["patient_key"] == "").sum()),
        "steps": steps,
        "included": asdict(count(included)),
        "included_flagged": asdict(count(included & outcome.flagged)),
        "included_not_evaluated": asdict(count(included & outcome.unknown)),
    }


def _difference(before: Count, after: Count) -> Count:
    return Count(
        before.files - after.files, before.images - after.images, before.patients - after.patients
    )


def match_counts(
    files: pd.DataFrame, patients: pd.DataFrame, exams: pd.DataFrame
) -> dict[str, int]:
    """Return how many patients the DXA table and the CT share, and how many exams were rounded.

    Parameters
    ----------
    files : DataFrame
        `schemas.INDEX`.
    patients : DataFrame
        `schemas.PATIENTS`. Patients of the CT whose header gives no ID do not count.
    exams : DataFrame
        `schemas.EXAMS`.

    Returns
    -------
    dict
        ``dxa_patients``, of them ``matched``; ``ct_without_dxa`` and ``dxa_without_ct``, patients;
        ``near_misses``, patients whose ID nearly equals another one; ``rounded_exams``, those with
        a T-score of more decimals than the one that grades.
    """
    ct = patients["patient_key"].isin(files.loc[files["patient_known"], "patient_key"])
    dxa = patients["in_dxa"]
    rounded = [
        any(row[f"{region}_t_score"] != row[f"{region}_t_score_raw"] for region in REGIONS)
        for row in exams.drop_duplicates("dxa_row").to_dict("records")
    ]
    return {
        "dxa_patients": int(dxa.sum()),
        "matched": int((ct & dxa).sum()),
        "ct_without_dxa": int((ct & ~dxa).sum()),
        "dxa_without_ct": int((dxa & ~ct).sum()),
        "near_misses": int((patients["near_misses"] > 0).sum()),
        "rounded_exams": sum(rounded),
    }


if __name__ == "__main__":
    run(exclude)
