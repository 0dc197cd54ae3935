"""What a criterion is, what it looks at, and what it returns."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.cohort.exams import level_scores
from dsnet.config.cohort import Exclude, TScoreSource, Vendor
from dsnet.schemas import HISTORIES, LEVELS

Stage = Literal["review", "quality", "anatomy", "dxa", "history", "levels"]

STAGES: Final[Mapping[Stage, str]] = {
    "review": "a reader's decision",
    "quality": "image quality",
    "anatomy": "anatomy",
    "dxa": "DXA reference",
    "history": "clinical history",
    "levels": "levels left",
}
"""Titles of the stages of the flow diagram, in its order."""

Mask = npt.NDArray[np.bool_]
"""One truth value per file, in the order of the index."""

Test = tuple["pd.Series[bool] | Mask", str]
"""Files on which something holds, and a sentence about it with columns in braces."""


@dataclass(frozen=True)
class Case:
    """What a criterion looks at.

    Attributes
    ----------
    files : DataFrame
        The evidence, one row per file of the index: see `dsnet.exclude.criterion.gather`.
    params : Exclude
    standing : Mask
        Files that no earlier criterion excludes.
    """

    files: pd.DataFrame
    params: Exclude
    standing: Mask


@dataclass(frozen=True)
class Finding:
    """What a criterion returns.

    Attributes
    ----------
    fails : Mask
        Files that it excludes.
    flags : Mask
        Files that a reader should look at, kept until then.
    unknown : Mask
        Files on which it could not be evaluated though it should have been.
    evidence : array of str
        Why, where a file fails or is flagged; "" elsewhere. Never an identity.
    """

    fails: Mask
    flags: Mask
    unknown: Mask
    evidence: npt.NDArray[np.object_]


@dataclass(frozen=True)
class Criterion:
    """A named reason to leave a file out.

    Attributes
    ----------
    slug : str
        Its key in the config, and its name in every table.
    code : str
        Its fixed code: criteria come and go without renumbering, and a code is never used again.
    scope : {"file", "patient"}
        Whether it concerns an image or the person.
    stage : str
        The stage of the flow diagram that shows it, a key of `STAGES`.
    reason : str
        One sentence for the ledger.
    remedy : str
        What would have to change in the data.
    source : str
        The section of the paper, or the interpretation that implies it.
    evaluate : callable
        The predicate; its docstring says what counts.
    threshold : callable
        The limit in force, as text; "" where there is none.
    final : bool
        Whether a reader's ``keep`` cannot lift it, since no label or no image would come of it.
    """

    slug: str
    code: str
    scope: Literal["file", "patient"]
    stage: Stage
    reason: str
    remedy: str
    source: str
    evaluate: Callable[[Case], Finding]
    threshold: Callable[[Exclude], str]
    final: bool

    def enabled(self, params: Exclude) -> bool:
        """Return whether the config leaves it switched on."""
        switch: bool = getattr(params.criteria, self.slug).enabled
        return switch


def criterion(
    code: str,
    *,
    scope: Literal["file", "patient"],
    stage: Stage,
    reason: str,
    remedy: str,
    source: str,
    threshold: Callable[[Exclude], str] = lambda _: "",
    final: bool = False,
    slug: str = "",
) -> Callable[[Callable[[Case], Finding]], Criterion]:
    """Return a decorator that makes a `Criterion` of its predicate; parameters as there.

    Without a `slug` it is the predicate's name.
    """

    def record(evaluate: Callable[[Case], Finding]) -> Criterion:
        name = slug or evaluate.__name__
        return Criterion(
            name, code, scope, stage, reason, remedy, source, evaluate, threshold, final
        )

    return record


@dataclass(frozen=True)
class Description:
    """A criterion under one config, as ``dsnet criteria`` and ``flow.json`` list it."""

    slug: str
    code: str
    scope: str
    stage: str
    reason: str
    threshold: str
    enabled: bool
    source: str


REVIEW: Final = Description(
    slug="review",
    code="R01",
    scope="file",
    stage="review",
    reason="A reader excluded it.",
    threshold="",
    enabled=True,
    source="review.csv",
)
"""A reader's decision to exclude, which stands before all criteria."""


def finding(
    files: pd.DataFrame,
    fails: Sequence[Test] = (),
    flags: Sequence[Test] = (),
    unknown: "pd.Series[bool] | None" = None,
) -> Finding:
    """Return the finding of a few tests.

    A missing truth value counts as false. Where several tests hold on a file, their sentences are
    joined in order.
    """
    evidence = np.full(len(files), "", dtype=object)
    return Finding(
        _apply(files, fails, evidence),
        _apply(files, flags, evidence),
        np.zeros(len(files), dtype=bool) if unknown is None else _plain(unknown),
        evidence,
    )


def _apply(files: pd.DataFrame, tests: Sequence[Test], evidence: npt.NDArray[np.object_]) -> Mask:
    """Return where any test holds, and write its sentence into `evidence`."""
    either = np.zeros(len(files), dtype=bool)
    for holds, sentence in tests:
        mask = _plain(holds)
        if not mask.any():
            continue
        either |= mask
        sentences = _sentences(files, mask, sentence)
        before = evidence[mask]
        evidence[mask] = np.where(before == "", sentences, before + "; " + sentences)
    return either


def _plain(holds: "pd.Series[bool] | Mask") -> Mask:
    """Return truth values as a plain array, a missing one as false."""
    return np.asarray(pd.Series(holds, dtype="boolean").fillna(False), dtype=bool)


def _sentences(files: pd.DataFrame, mask: Mask, sentence: str) -> npt.NDArray[np.object_]:
    """Return the sentence for each file at `mask`, its columns filled in."""
    columns = [name for _, name, _, _ in Formatter().parse(sentence) if name]
    sentences = np.full(int(mask.sum()), sentence, dtype=object)
    if columns:
        rows = zip(*(files[name][mask] for name in columns), strict=True)
        sentences[:] = [sentence.format(**dict(zip(columns, row, strict=True))) for row in rows]
    return sentences


_ANSWERS = {"yes": True, "no": False}


def gather(
    index: pd.DataFrame,
    boxes: pd.DataFrame,
    exams: pd.DataFrame,
    patients: pd.DataFrame,
    *,
    t_score: TScoreSource,
) -> pd.DataFrame:
    """Return the index with what the other tables say of each file.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    boxes : DataFrame
        As `dsnet.cohort.annotations.collect.used` returns them.
    exams, patients : DataFrame
        `dsnet.schemas.EXAMS` and `dsnet.schemas.PATIENTS`.
    t_score : {"patient", "vertebra", "lowest"}
        Which T-score labels a vertebra.

    Returns
    -------
    DataFrame
        In the order of the index, numbered from 0. Beside the index's own columns: from the
        annotations ``annotated``, ``named``, ``patient_annotated`` (bool) and ``levels`` (str,
        those of L1 to L4, separated by a blank); from the exams ``has_dxa`` (bool),
        ``interval_days`` (Int64, missing when a date is) and ``unscored`` (str, levels without a
        T-score); and each history (nullable bool).
    """
    files = _with_boxes(index.reset_index(drop=True), boxes)
    files = _with_exams(files, level_scores(exams, t_score))
    for column in HISTORIES:
        answers = dict(zip(patients["patient_key"], patients[column], strict=True))
        answered = [_ANSWERS.get(answers.get(key, "")) for key in files["patient_key"]]
        files[column] = pd.array(answered, dtype="boolean")
    return files


def _with_boxes(files: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    lumbar = boxes[boxes["level"].isin(LEVELS)].sort_values("level")
    levels = {key: " ".join(own) for key, own in lumbar.groupby("file_key")["level"]}
    annotated = files["file_key"].isin(boxes["file_key"])
    patients = set(files.loc[annotated, "patient_key"]) - {""}
    return files.assign(
        annotated=annotated,
        named=files["file_key"].isin(boxes.loc[boxes["named"], "file_key"]),
        levels=pd.array([levels.get(key, "") for key in files["file_key"]], dtype="str"),
        patient_annotated=annotated | files["patient_key"].isin(patients),
    )


def _with_exams(files: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["patient_key", "study_key"]
    own = files[[*keys, "levels"]].merge(scores, on=keys, how="left", validate="m:1")
    has_dxa = own["interval_days"].notna()
    days = [int(text) if text else None for text in own["interval_days"].fillna("")]
    rows = zip(own["levels"], own[list(LEVELS)].fillna("").to_numpy().tolist(), strict=True)
    unscored = pd.Series([_unscored(*row) for row in rows], dtype="str")
    return files.assign(
        has_dxa=has_dxa,
        interval_days=pd.array(days, dtype="Int64"),
        unscored=unscored.where(has_dxa, ""),
    )


def _unscored(levels: str, t_scores: list[str]) -> str:
    """Return the levels of a slice without a T-score; ``L1-L4`` where no level has one."""
    if not any(t_scores):
        return "L1-L4"
    scored = {level for level, score in zip(LEVELS, t_scores, strict=True) if score}
    return " ".join(level for level in levels.split() if level not in scored)


# Which reconstruction kernels are made for bone: ConvolutionKernel (0018,1210) is free text that
# each vendor fills with its own names, since DICOM defines no codes. The tables follow those names:
#
# - GE: STANDARD, SOFT, DETAIL, CHEST and LUNG beside BONE, BONEPLUS, EDGE and ULTRA.
# - Siemens: a letter for the body part, up to two more for the variant, and a number for the
#   sharpness, as in B30f, H60s, Br40 or Qr59. The operating instructions of the SOMATOM Sensation
#   (chapter Spine) name B30 and B40 for soft tissue and B60 to B80 for sharp edges, with B50
#   between them; on newer scanners 59 and more are the bone kernels. A second letter l or v means
#   lung or vessels, at any number.
# - Philips: A, B, C and their relatives are smooth, L is for the lung; D, E, YC and YD are sharp.
# - Canon and Toshiba: FC01 to FC29 are for soft tissue and brain, FC50 to FC59 for the lung; FC30
#   to FC39 and FC80 to FC86 are for bone.
#
# What the tables do not list is neither bone nor soft but unknown: somebody should look.

_BONE = {
    "ge": r"(HD ?)?(BONE ?(PLUS|\+)?|EDGE|ULTRA)",
    "siemens": r"([BHIJDQU]|[BHQUI][RFCP])(59|[6-9]\d)[A-Z]?(\d)?",
    "philips": r"D|E|YC|YD",
    "canon": r"FC(3\d|8[0-6])",
}
_OTHER = {
    "ge": r"(HD ?)?(STANDARD|STD|SOFT|DETAIL|CHEST|LUNG)( ?(PLUS|\+))?",
    "siemens": r"([BHIJDQU]|[BHQUI][RFCP])[1-4]\d[A-Z]?(\d)?|[BQI][LV]\d\d[A-Z]?(\d)?",
    "philips": r"A|B|C|L|U[ABC]|X?C[ABC]",
    "canon": r"FC([0-2]\d|5\d)",
}


def classify(
    vendors: "pd.Series[str]",
    kernels: "pd.Series[str]",
    more_bone: Mapping[Vendor, Sequence[str]],
) -> "pd.Series[str]":
    r"""Return ``bone``, ``other`` or ``unknown`` for each file.

    Parameters
    ----------
    vendors, kernels : Series of str
        Of `dsnet.schemas.INDEX`; of a kernel with several values (``Br64f\3``) the first counts.
    more_bone : mapping of str to sequence of str
        Names of bone kernels by vendor that the config adds.
    """
    added = {(vendor, _first_value(name)) for vendor, names in more_bone.items() for name in names}
    pairs = list(zip(vendors, kernels, strict=True))
    kinds = {}
    for vendor, kernel in set(pairs):
        name = _first_value(kernel)
        kinds[vendor, kernel] = "bone" if (vendor, name) in added else _listed(vendor, name)
    return pd.Series([kinds[pair] for pair in pairs], index=kernels.index, dtype=str)


def _first_value(kernel: str) -> str:
    return kernel.partition("\\")[0].strip().upper()


def _listed(vendor: str, name: str) -> str:
    for kind, table in (("bone", _BONE), ("other", _OTHER)):
        if vendor in table and re.fullmatch(table[vendor], name, re.ASCII):
            return kind
    return "unknown"
