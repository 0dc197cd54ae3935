"""What a criterion is, what it looks at, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.config.cohort import Exclude

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
        The evidence, one row per file of the index: see `dsnet.exclude.evidence.gather`.
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
    slug: str,
    code: str,
    *,
    scope: Literal["file", "patient"],
    stage: Stage,
    reason: str,
    remedy: str,
    source: str,
    threshold: Callable[[Exclude], str] = lambda _: "",
    final: bool = False,
) -> Callable[[Callable[[Case], Finding]], Criterion]:
    """Return a decorator that makes a `Criterion` of its predicate; parameters as there."""

    def record(evaluate: Callable[[Case], Finding]) -> Criterion:
        return Criterion(
            slug, code, scope, stage, reason, remedy, source, evaluate, threshold, final
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
