"""Criteria on the DXA exam that gives a patient's class: section 3 and readings 17, 18 and 20."""

from dsnet.exclude.criterion import Case, Criterion, Finding, finding


def no_dxa(case: Case) -> Finding:
    """Hold where the DXA table has no exam of the patient; a blank patient ID has none."""
    files = case.files
    lacks = files["readable"] & ~files["has_dxa"]
    return finding(
        files,
        [
            (lacks & files["patient_known"], "no exam of this patient"),
            (lacks & ~files["patient_known"], "no patient ID in the header"),
        ],
    )


def no_t_score(case: Case) -> Finding:
    """Hold where the exam lacks a T-score that the configured reading asks for (interpretation 17).

    Under ``vertebra`` that is one for each level on the slice: a body without a label would be
    learned as background.
    """
    files = case.files
    lacks = files["readable"] & files["has_dxa"] & (files["unscored"] != "")
    return finding(files, [(lacks, "no T-score for {unscored}")])


def dxa_too_far(case: Case) -> Finding:
    """Hold where more days than allowed lie between CT and DXA, whichever came first."""
    limit = case.params.criteria.dxa_too_far.max_interval_days
    days = case.files["interval_days"].abs()
    shown = case.files[["file_key"]].assign(days=days)
    return finding(shown, [(case.files["readable"] & (days > limit), "{days} days")])


def dxa_date_unknown(case: Case) -> Finding:
    """Hold where the date of the CT or of the DXA exam is unknown."""
    files = case.files
    unknown = files["readable"] & files["has_dxa"] & files["interval_days"].isna()
    ct_known = files["date_known"]
    return finding(
        files,
        [
            (unknown & ~ct_known, "no CT date"),
            (unknown & ct_known, "no DXA date"),
        ],
    )


CRITERIA = (
    Criterion(
        "no_dxa",
        "E14",
        "patient",
        "The patient has no DXA exam.",
        "section 3 (the DXA report as reference), interpretation 22",
        no_dxa,
        final=True,
    ),
    Criterion(
        "no_t_score",
        "E15",
        "patient",
        "The DXA exam gives no T-score to label by.",
        "section 3 (the DXA report as reference), interpretation 18",
        no_t_score,
        final=True,
    ),
    Criterion(
        "dxa_too_far",
        "E16",
        "patient",
        "CT and DXA are too far apart in time.",
        "interpretation 20",
        dxa_too_far,
        lambda p: f"interval <= {p.criteria.dxa_too_far.max_interval_days} days",
    ),
    Criterion(
        "dxa_date_unknown",
        "E17",
        "patient",
        "The interval between CT and DXA is unknown.",
        "interpretation 18",
        dxa_date_unknown,
    ),
)
