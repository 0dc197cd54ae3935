"""The exclusion step: index and matched tables in; ledger, patients and flow of the cohort out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.config.cohort import Exclude, Label
from dsnet.exclude.criteria import CRITERIA, criteria_table
from dsnet.exclude.criterion import (
    REVIEW,
    Case,
    Criterion,
    Description,
    Finding,
    Mask,
    gather,
)
from dsnet.files import write_json
from dsnet.match.patients import near_misses_sentence
from dsnet.results import Source, read_source
from dsnet.schemas import EXCLUSIONS, LEDGER, REGIONS
from dsnet.step import run

Texts = npt.NDArray[np.object_]
"""One text per file, in the order of the index."""

_RULES: tuple[Description | Criterion, ...] = (REVIEW, *CRITERIA)
_ORDER = {"": -1, **{rule.slug: n for n, rule in enumerate(_RULES)}}
_CODE = {"": "", **{rule.slug: rule.code for rule in _RULES}}
_REASON = {"": "", **{rule.slug: rule.reason for rule in _RULES}}
_WHOLE_PATIENT = (REVIEW.slug, *(rule.slug for rule in CRITERIA if rule.scope == "patient"))


@dataclass(frozen=True)
class Outcome:
    """What the criteria and a reader decided on each file, in the order of the index.

    Attributes
    ----------
    criterion : array of str
        Slug of the first criterion that excludes the file; "" where it is included.
    findings : mapping of str to Finding
        By slug, of the criteria that are switched on.
    excluding : mapping of str to Mask
        By slug, ``review`` among them: where a criterion excludes, less what a reader lifted.
    lifted : Mask
        Files on which a reader lifted at least one criterion.
    reviewed_by : array of str
        Row of ``review.csv`` that decided on the file, reader and day; "" where none did.
    """

    criterion: Texts
    findings: Mapping[str, Finding]
    excluding: Mapping[str, Mask]
    lifted: Mask
    reviewed_by: Texts

    @property
    def included(self) -> Mask:
        """Files that nothing excludes."""
        return np.asarray(self.criterion == "", dtype=bool)

    @property
    def flagged(self) -> Mask:
        """Files that a reader should look at."""
        return self._any([one.flags for one in self.findings.values()])

    @property
    def unknown(self) -> Mask:
        """Files on which some criterion could not be evaluated."""
        return self._any([one.unknown for one in self.findings.values()])

    def _any(self, masks: list[Mask]) -> Mask:
        nothing = np.zeros(len(self.criterion), dtype=bool)
        return np.asarray(np.any([nothing, *masks], axis=0), dtype=bool)


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


def apply_criteria(files: pd.DataFrame, params: Exclude, decisions: pd.DataFrame) -> Outcome:
    """Apply every criterion that is switched on.

    A reader's ``exclude`` stands before all criteria; a reader's ``keep`` lifts those that are not
    final, and what it lifts stays in `Outcome.findings`.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.criterion.gather` returns them.
    params : Exclude
    decisions : DataFrame
        `dsnet.schemas.DECISIONS`.
    """
    decided, reviewed_by = _by_file(files, decisions)
    keeps = np.asarray(decided == "keep", dtype=bool)
    excludes = np.asarray(decided == "exclude", dtype=bool)
    criterion = np.where(excludes, REVIEW.slug, "").astype(object)
    findings: dict[str, Finding] = {}
    excluding = {REVIEW.slug: excludes}
    lifted = np.zeros(len(files), dtype=bool)
    for rule in CRITERIA:
        if not rule.enabled(params):
            continue
        standing = np.asarray(criterion == "", dtype=bool)
        finding = rule.evaluate(Case(files, params, standing))
        kept = finding.fails & keeps & (not rule.final)
        findings[rule.slug] = finding
        excluding[rule.slug] = finding.fails & ~kept
        criterion[standing & excluding[rule.slug]] = rule.slug
        lifted |= kept
    return Outcome(criterion, findings, excluding, lifted, reviewed_by)


def _by_file(files: pd.DataFrame, decisions: pd.DataFrame) -> tuple[Texts, Texts]:
    """Return each file's decision, and its row, reader and day; "" where no reader decided."""
    decided, reviewed_by = (np.full(len(files), "", dtype=object) for _ in range(2))
    for scope in ("patient", "series", "file"):  # a narrower scope overrides a wider one
        own = decisions[decisions["scope"] == scope]
        row = pd.Index(own["key"]).get_indexer(pd.Index(files[f"{scope}_key"]))
        at = np.flatnonzero(row >= 0)
        decided[at] = own["decision"].to_numpy(object)[row[at]]
        by = own[["row", "reviewer", "date"]].itertuples(index=False, name=None)
        texts = [f"review row {number} ({reviewer}, {day})" for number, reviewer, day in by]
        reviewed_by[at] = np.array(texts, dtype=object)[row[at]]
    return decided, reviewed_by


def ledger_table(files: pd.DataFrame, outcome: Outcome, params: Exclude) -> pd.DataFrame:
    """Return `dsnet.schemas.LEDGER`, in the order of the index.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.criterion.gather` returns them.
    outcome : Outcome
    params : Exclude

    Returns
    -------
    DataFrame
        ``criterion``, ``code``, ``reason``, ``evidence`` and ``threshold`` are those of the first
        criterion that excludes a file. ``all_criteria`` lists every one that it fails, in order,
        separated by semicolons, with a question mark after those that only ask for review; an
        included file has the evidence of the latter. ``decided_by`` is ``rule``, or the row of
        ``review.csv`` that changed the outcome, with its reader and date.
    """
    thresholds = {rule.slug: rule.threshold(params) for rule in CRITERIA}
    slugs = pd.Series(outcome.criterion, index=files.index, dtype=str)
    by_reader = (slugs == REVIEW.slug) | outcome.lifted
    table = files[["file_key", "image_key", "patient_key", "study_key", "series_key"]].assign(
        status=np.where(outcome.included, "included", "excluded"),
        criterion=slugs,
        code=slugs.map(_CODE),
        reason=slugs.map(_REASON),
        evidence=_evidence(outcome),
        threshold=slugs.map({"": "", REVIEW.slug: REVIEW.threshold, **thresholds}),
        decided_by=np.where(by_reader, outcome.reviewed_by, "rule"),
        all_criteria=_all_criteria(outcome),
    )
    return table[list(LEDGER.columns)].astype(str)


def _evidence(outcome: Outcome) -> Texts:
    """Return the first criterion's evidence; of an included file, that of its review flags."""
    evidence = np.full(len(outcome.criterion), "", dtype=object)
    for slug, finding in outcome.findings.items():
        first = outcome.criterion == slug
        evidence[first] = finding.evidence[first]
        flagged = finding.flags & outcome.included
        why = np.array([f"{slug}: {text}" for text in finding.evidence[flagged]], dtype=object)
        evidence[flagged] = _join(evidence[flagged], why, "; ")
    return evidence


def _all_criteria(outcome: Outcome) -> Texts:
    listed = np.where(outcome.excluding[REVIEW.slug], REVIEW.slug, "").astype(object)
    for slug, finding in outcome.findings.items():
        for mask, word in ((finding.fails, slug), (finding.flags & ~finding.fails, f"{slug}?")):
            listed[mask] = _join(listed[mask], word, ";")
    return listed


def _join(before: Texts, word: str | Texts, by: str) -> Texts:
    return np.where(before == "", word, before + by + word)


def exclusions_table(files: pd.DataFrame, outcome: Outcome) -> pd.DataFrame:
    """Return `dsnet.schemas.EXCLUSIONS`, patients in the order in which the index meets them.

    Files without a patient key (nothing of their header could be read) belong to no patient.

    Notes
    -----
    docs/interpretations.md#22: "a patient's criterion is the first patient-level failure, else the
    one that removed the last candidate slice". A patient-level failure is a criterion of scope
    ``patient``, or a reader's decision, that excludes every file of the patient. Candidate slices
    are those with an annotated body of L1 to L4 or, of a patient who has none, all; criteria remove
    them in order, so that the last one goes to the latest of the criteria that come first on any of
    them.
    """
    own = np.asarray(files["patient_key"] != "", dtype=bool)
    patients = files.loc[own, "patient_key"]
    table = pd.DataFrame({"patient_key": patients, "included": outcome.included[own]})
    counts = table.groupby("patient_key", sort=False)["included"].agg(["size", "sum"])
    slug = _last_removed(files, outcome)
    for name in reversed([name for name in _WHOLE_PATIENT if name in outcome.excluding]):
        everywhere = pd.Series(outcome.excluding[name][own]).groupby(patients.to_numpy()).all()
        slug = slug.mask(everywhere.reindex(slug.index), name)
    criterion = slug.reindex(counts.index).where(counts["sum"] == 0, "")
    return pd.DataFrame(
        {
            "patient_key": counts.index.astype(str),
            "status": np.where(counts["sum"] > 0, "included", "excluded"),
            "n_files": counts["size"].to_numpy(dtype=np.int64),
            "n_included": counts["sum"].to_numpy(dtype=np.int64),
            "criterion": criterion.to_numpy(),
            "reason": criterion.map(_REASON).to_numpy(),
        }
    )[list(EXCLUSIONS.columns)].astype({"status": str, "criterion": str, "reason": str})


def _last_removed(files: pd.DataFrame, outcome: Outcome) -> "pd.Series[str]":
    """Return, by patient, the criterion that removed the last candidate slice."""
    table = pd.DataFrame(
        {
            "patient_key": files["patient_key"],
            "order": [_ORDER[slug] for slug in outcome.criterion],
            "lumbar": files["levels"] != "",
        }
    )
    table = table[table["patient_key"] != ""]
    has_lumbar = table.groupby("patient_key")["lumbar"].transform("any")
    latest = table[table["lumbar"] | ~has_lumbar].groupby("patient_key")["order"].max()
    return latest.map({order: slug for slug, order in _ORDER.items()}).astype(str)


def counter(files: pd.DataFrame) -> Callable[[Mask], dict[str, int]]:
    """Return what counts the files of a mask, and the distinct keys of their images and patients.

    Parameters
    ----------
    files : DataFrame
        With ``image_key`` and ``patient_key``, "" where there is none: a file without a header has
        neither. Keys are numbered once.
    """
    codes = {
        unit: np.asarray(pd.factorize(files[key].mask(files[key] == ""))[0])
        for unit, key in (("images", "image_key"), ("patients", "patient_key"))
    }

    def count(where: Mask) -> dict[str, int]:
        distinct = {unit: np.unique(own[where & (own >= 0)]).size for unit, own in codes.items()}
        return {"files": int(where.sum()), **distinct}

    return count


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
    count = counter(files)
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
                "removed": {unit: before[unit] - number for unit, number in after.items()},
                "remain": after,
                "failed": count(failed),
                "flagged": count(included & finding.flags if finding else nothing),
                "not_evaluated": count(included & finding.unknown if finding else nothing),
                "patients_excluded": int((exclusions["criterion"] == slug).sum()),
            }
        )
    return {
        "cohort": {"name": source.name, "synthetic": source.synthetic},
        "found": count(~nothing),
        "files_without_patient": int((files["patient_key"] == "").sum()),
        "steps": steps,
        "included": count(included),
        "included_flagged": count(included & outcome.flagged),
        "included_not_evaluated": count(included & outcome.unknown),
    }


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
