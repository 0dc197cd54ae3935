"""Every exclusion criterion: the four items of section 3.1, and what they imply.

docs/interpretations.md#22

A criterion that needs a header passes a file without one.
"""

from typing import Final

import numpy as np
import pandas as pd

from dsnet.config.cohort import Exclude
from dsnet.exclude.criterion import Case, Criterion, Description, Finding, Mask, criterion, finding
from dsnet.exclude.image_criteria import IMAGE_CRITERIA

_DXA = "section 3 (the DXA report as reference)"
_ANATOMY = "section 3.1, item 2"


@criterion(
    "E23",
    scope="patient",
    stage="quality",
    reason="The patient withdrew consent.",
    remedy="nothing may: the patient withdrew consent",
    source="dsnet withdraw",
    final=True,
)
def withdrawn(case: Case) -> Finding:
    """Hold on the files of patients who withdrew their consent; nothing else of them is kept."""
    return finding(case.files, [(case.files["fault"] == "withdrawn", "recorded by dsnet withdraw")])


@criterion(
    "E12",
    scope="patient",
    stage="anatomy",
    reason="No vertebra of the patient was annotated.",
    remedy="annotate a body of L1 to L4 on an image of the patient",
    source=_ANATOMY,
    final=True,
)
def no_annotation(case: Case) -> Finding:
    """Hold where nothing at all is annotated on any image of the patient."""
    files = case.files
    bare = files["readable"] & ~files["patient_annotated"]
    return finding(files, [(bare, "no box on any image of the patient")])


@criterion(
    "E13",
    scope="file",
    stage="anatomy",
    reason="The slice shows no annotated body of L1 to L4.",
    remedy="annotate a body of L1 to L4 on the slice",
    source=_ANATOMY,
    final=True,
)
def not_lumbar(case: Case) -> Finding:
    """Hold where no vertebral body of L1 to L4 is annotated on the slice."""
    files = case.files
    elsewhere = files["readable"] & (files["levels"] == "")
    return finding(
        files,
        [
            (elsewhere & files["annotated"], "only other levels annotated"),
            (elsewhere & ~files["annotated"], "no box on the slice"),
        ],
    )


@criterion(
    "E14",
    scope="patient",
    stage="dxa",
    reason="The patient has no DXA exam.",
    remedy="add the patient's exam to the DXA table, under the patient ID of the CT",
    source=f"{_DXA}, interpretation 22",
    final=True,
)
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


@criterion(
    "E15",
    scope="patient",
    stage="dxa",
    reason="The DXA exam gives no T-score to label by.",
    remedy="add the exam's T-scores to the DXA table",
    source=f"{_DXA}, interpretation 18",
    final=True,
)
def no_t_score(case: Case) -> Finding:
    """Hold where the exam lacks a T-score that ``label.t_score`` asks for (interpretation 17).

    Under ``vertebra`` that is one for each level on the slice: a body without a label would be
    learned as background.
    """
    files = case.files
    lacks = files["readable"] & files["has_dxa"] & (files["unscored"] != "")
    return finding(files, [(lacks, "no T-score for {unscored}")])


@criterion(
    "E16",
    scope="patient",
    stage="dxa",
    reason="CT and DXA are too far apart in time.",
    remedy="bring a DXA exam nearer to the CT",
    source="interpretation 20",
    threshold=lambda p: f"interval <= {p.criteria.dxa_too_far.max_interval_days} days",
)
def dxa_too_far(case: Case) -> Finding:
    """Hold where more days than allowed lie between CT and DXA, in either order."""
    limit = case.params.criteria.dxa_too_far.max_interval_days
    days = case.files["interval_days"].abs()
    table = case.files[["file_key"]].assign(days=days)
    return finding(table, [(case.files["readable"] & (days > limit), "{days} days")])


@criterion(
    "E17",
    scope="patient",
    stage="dxa",
    reason="The interval between CT and DXA is unknown.",
    remedy="add the missing date: of the exam to the DXA table, or of the CT",
    source="interpretation 18",
)
def dxa_date_unknown(case: Case) -> Finding:
    """Hold where the date of the CT or of the DXA exam is unknown."""
    files = case.files
    unknown = files["readable"] & files["has_dxa"] & files["interval_days"].isna()
    return finding(
        files,
        [
            (unknown & ~files["date_known"], "no CT date"),
            (unknown & files["date_known"], "no DXA date"),
        ],
    )


def _history(slug: str, code: str, *, reason: str, item: int) -> Criterion:
    """Return the criterion on patients with a yes in the column `slug` of ``clinical.csv``.

    A patient whose history is unknown is kept and counted, or excluded where the config says so
    (``unknown_history``).
    """

    @criterion(
        code,
        slug=slug,
        scope="patient",
        stage="history",
        reason=reason,
        remedy="correct the clinical table, if its answer is wrong",
        source=f"section 3.1, item {item}",
        threshold=lambda p: f"unknown histories: {p.unknown_history}",
    )
    def history(case: Case) -> Finding:
        """Hold on patients whose history in ``clinical.csv`` says yes."""
        files = case.files
        unknown = files["readable"] & files[slug].isna()
        tests = [(files["readable"] & files[slug], f"{slug}: yes")]
        if case.params.unknown_history == "exclude":
            tests.append((unknown, f"{slug}: unknown"))
        return finding(files, tests, unknown=unknown)

    return history


fracture_history = _history(
    "fracture_history", "E18", reason="The patient has a history of fractures.", item=4
)
spine_surgery = _history(
    "spine_surgery", "E19", reason="The patient has had surgery of the spine.", item=3
)
tumour = _history("tumour", "E20", reason="The patient has a primary or metastatic tumour.", item=4)
bone_hyperplasia = _history(
    "bone_hyperplasia", "E21", reason="The patient has bone hyperplasia.", item=4
)


@criterion(
    "E22",
    scope="patient",
    stage="levels",
    reason="Too few of the levels L1 to L4 are annotated or left.",
    remedy="annotate more of L1 to L4 on slices that pass the other criteria",
    source="section 3.1 (any of L1-L4 for training), interpretation 19",
    threshold=lambda p: f"levels >= {p.criteria.incomplete_levels.min_levels}",
)
def incomplete_levels(case: Case) -> Finding:
    """Hold where too few of L1 to L4 are annotated, or left on the remaining slices.

    docs/interpretations.md#19

    Too few annotated at all is a fault of the patient. What is left is counted last, after every
    other criterion, and concerns the slices that are left: a patient of whom none is left has lost
    them to those criteria.
    """
    files = case.files
    minimum = case.params.criteria.incomplete_levels.min_levels
    everywhere = np.ones(len(files), dtype=bool)
    table = pd.DataFrame(
        {
            "n_annotated": _count_levels(files, everywhere),
            "n_left": _count_levels(files, case.standing),
        }
    )
    short = files["readable"] & files["patient_annotated"] & (table["n_annotated"] < minimum)
    left = case.standing & ~short & (table["n_left"] < minimum)
    return finding(
        table,
        [(short, "{n_annotated} of L1 to L4 annotated"), (left, "{n_left} of L1 to L4 left")],
    )


def _count_levels(files: pd.DataFrame, where: Mask) -> "pd.Series[int]":
    """Return, for each file, how many of L1 to L4 its patient has on the files at `where`."""
    some = files.loc[where, ["patient_key", "levels"]].drop_duplicates()
    levels = some.assign(level=some["levels"].str.split(" ")).explode("level")
    counts = levels[levels["level"] != ""].groupby("patient_key")["level"].nunique()
    return files["patient_key"].map(counts).fillna(0).astype(int)


CRITERIA: Final[tuple[Criterion, ...]] = (
    withdrawn,
    *IMAGE_CRITERIA,
    no_annotation,
    not_lumbar,
    no_dxa,
    no_t_score,
    dxa_too_far,
    dxa_date_unknown,
    fracture_history,
    spine_surgery,
    tumour,
    bone_hyperplasia,
    incomplete_levels,
)
"""Every criterion, in the order in which they count; `dsnet.config.cohort.Criteria` has the same
keys."""


def criteria_table(params: Exclude) -> list[Description]:
    """Return the description of each criterion under `params`, in order."""
    return [
        Description(
            rule.slug,
            rule.code,
            rule.scope,
            rule.stage,
            rule.reason,
            rule.threshold(params),
            rule.enabled(params),
            rule.source,
        )
        for rule in CRITERIA
    ]
