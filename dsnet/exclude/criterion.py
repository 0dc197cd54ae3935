"""What a criterion is, what it looks at, and what it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.config.cohort import Exclude

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
    """What a criterion found.

    Attributes
    ----------
    fails : Mask
        Files that it excludes.
    flags : Mask
        Files that somebody should look at, kept until then.
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
        Stable: a criterion keeps it when others come and go.
    scope : {"file", "patient"}
        Whether it says something of an image or of the person.
    reason : str
        One sentence for the ledger.
    source : str
        Its place in the paper, or the reading that implies it.
    find : callable
        The predicate; its docstring says what counts.
    threshold : callable
        The limit in force, as text; "" where there is none.
    final : bool
        Whether a reader's ``keep`` cannot lift it, since no label or no image would come of it.
    """

    slug: str
    code: str
    scope: Literal["file", "patient"]
    reason: str
    source: str
    find: Callable[[Case], Finding]
    threshold: Callable[[Exclude], str] = lambda _: ""
    final: bool = False

    def enabled(self, params: Exclude) -> bool:
        """Return whether the config leaves it switched on."""
        switch: bool = getattr(params.criteria, self.slug).enabled
        return switch


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
        np.zeros(len(files), dtype=bool) if unknown is None else plain(unknown),
        evidence,
    )


def _apply(files: pd.DataFrame, tests: Sequence[Test], evidence: npt.NDArray[np.object_]) -> Mask:
    """Return where any test holds, and write what it says into `evidence`."""
    either = np.zeros(len(files), dtype=bool)
    for holds, sentence in tests:
        mask = plain(holds)
        if not mask.any():
            continue
        either |= mask
        said = _sentences(files, mask, sentence)
        before = evidence[mask]
        evidence[mask] = np.where(before == "", said, before + "; " + said)
    return either


def plain(holds: "pd.Series[bool] | Mask") -> Mask:
    """Return truth values as a plain array, a missing one as false."""
    return np.asarray(pd.Series(holds, dtype="boolean").fillna(False), dtype=bool)


def _sentences(files: pd.DataFrame, mask: Mask, sentence: str) -> npt.NDArray[np.object_]:
    """Return the sentence for each file at `mask`, its columns filled in."""
    columns = [name for _, name, _, _ in Formatter().parse(sentence) if name]
    said = np.full(int(mask.sum()), sentence, dtype=object)
    if columns:
        rows = zip(*(files[name][mask] for name in columns), strict=True)
        said[:] = [sentence.format(**dict(zip(columns, row, strict=True))) for row in rows]
    return said
