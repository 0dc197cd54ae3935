"""The ledger: one row per file, and one per patient, saying why."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.config.cohort import Exclude
from dsnet.exclude.registry import CRITERIA, REVIEW, REVIEW_CODE, REVIEW_REASON
from dsnet.exclude.verdict import Verdict
from dsnet.schemas import EXCLUSIONS, LEDGER

_ORDER = {REVIEW: 0, **{rule.slug: n for n, rule in enumerate(CRITERIA, start=1)}}
_CODE = {"": "", REVIEW: REVIEW_CODE, **{rule.slug: rule.code for rule in CRITERIA}}
_REASON = {"": "", REVIEW: REVIEW_REASON, **{rule.slug: rule.reason for rule in CRITERIA}}
_WHOLE_PATIENT = (REVIEW, *(rule.slug for rule in CRITERIA if rule.scope == "patient"))


def ledger_table(files: pd.DataFrame, verdict: Verdict, params: Exclude) -> pd.DataFrame:
    """Return `dsnet.schemas.LEDGER`, in the order of the index.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.evidence.gather` returns them.
    verdict : Verdict
    params : Exclude

    Returns
    -------
    DataFrame
        ``criterion``, ``code``, ``reason``, ``evidence`` and ``threshold`` are those of the first
        criterion that excludes a file. ``all_criteria`` lists every one that it fails, in order,
        parted by semicolons, with a question mark after those that only ask for review; an
        included file shows the evidence of the latter. ``decided_by`` is ``rule``, or the row of
        ``review.csv`` that changed the outcome, with its reader and date.
    """
    threshold = {"": "", REVIEW: "", **{rule.slug: rule.threshold(params) for rule in CRITERIA}}
    slugs = pd.Series(verdict.criterion, index=files.index, dtype=str)
    by_reader = (slugs == REVIEW) | verdict.lifted
    table = files[["file_key", "image_key", "patient_key", "study_key", "series_key"]].assign(
        status=np.where(verdict.included, "included", "excluded"),
        criterion=slugs,
        code=slugs.map(_CODE),
        reason=slugs.map(_REASON),
        evidence=_evidence(verdict),
        threshold=slugs.map(threshold),
        decided_by=np.where(by_reader, verdict.reviewed_by, "rule"),
        all_criteria=_all_criteria(verdict),
    )
    return table[list(LEDGER.columns)].astype(str)


def _evidence(verdict: Verdict) -> npt.NDArray[np.object_]:
    """Return the first criterion's evidence; of an included file, that of its review flags."""
    shown = np.full(len(verdict.criterion), "", dtype=object)
    for slug, found in verdict.findings.items():
        first = verdict.criterion == slug
        shown[first] = found.evidence[first]
        flagged = found.flags & verdict.included
        said = np.array([f"{slug}: {text}" for text in found.evidence[flagged]], dtype=object)
        shown[flagged] = _join(shown[flagged], said, "; ")
    return shown


def _all_criteria(verdict: Verdict) -> npt.NDArray[np.object_]:
    listed = np.where(verdict.excluding[REVIEW], REVIEW, "").astype(object)
    for slug, found in verdict.findings.items():
        for mask, word in ((found.fails, slug), (found.flags & ~found.fails, f"{slug}?")):
            listed[mask] = _join(listed[mask], word, ";")
    return listed


def _join(
    before: npt.NDArray[np.object_], word: str | npt.NDArray[np.object_], by: str
) -> npt.NDArray[np.object_]:
    return np.where(before == "", word, before + by + word)


def exclusions_table(files: pd.DataFrame, verdict: Verdict) -> pd.DataFrame:
    """Return `dsnet.schemas.EXCLUSIONS`, patients in the order in which the index meets them.

    Files without a patient key (nothing of their header could be read) belong to nobody here.

    Notes
    -----
    docs/interpretations.md#22: "a patient's criterion is the first patient-level failure, else the
    one that
    removed the last candidate slice". A patient-level failure is a criterion of scope ``patient``,
    or a reader's decision, that excludes every file of the patient. Candidate slices are those
    with an annotated body of L1 to L4 or, of a patient who has none, all; criteria remove them in
    order, so that the last one goes to the latest of the criteria that come first on any of them.
    """
    own = np.asarray(files["patient_key"] != "", dtype=bool)
    patients = files.loc[own, "patient_key"]
    table = pd.DataFrame({"patient_key": patients, "included": verdict.included[own]})
    counts = table.groupby("patient_key", sort=False)["included"].agg(["size", "sum"])
    slug = _last_removed(files, verdict)
    for name in reversed([name for name in _WHOLE_PATIENT if name in verdict.excluding]):
        everywhere = pd.Series(verdict.excluding[name][own]).groupby(patients.to_numpy()).all()
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


def _last_removed(files: pd.DataFrame, verdict: Verdict) -> "pd.Series[str]":
    """Return, by patient, the criterion that removed the last candidate slice."""
    table = pd.DataFrame(
        {
            "patient_key": files["patient_key"],
            "order": [_ORDER.get(slug, -1) for slug in verdict.criterion],
            "lumbar": files["levels"] != "",
        }
    )
    table = table[table["patient_key"] != ""]
    has_lumbar = table.groupby("patient_key")["lumbar"].transform("any")
    latest = table[table["lumbar"] | ~has_lumbar].groupby("patient_key")["order"].max()
    return latest.map({-1: "", **{order: slug for slug, order in _ORDER.items()}}).astype(str)
