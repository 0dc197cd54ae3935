"""The criteria applied in order, and a reader's decisions above them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dsnet.config.cohort import Exclude
from dsnet.exclude.criterion import Case, Finding, Mask
from dsnet.exclude.registry import CRITERIA, REVIEW


@dataclass(frozen=True)
class Verdict:
    """What became of each file, in the order of the index.

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

    criterion: npt.NDArray[np.object_]
    findings: Mapping[str, Finding]
    excluding: Mapping[str, Mask]
    lifted: Mask
    reviewed_by: npt.NDArray[np.object_]

    @property
    def included(self) -> Mask:
        """Files that nothing excludes."""
        return np.asarray(self.criterion == "", dtype=bool)

    @property
    def flagged(self) -> Mask:
        """Files that somebody should look at."""
        return self._any([found.flags for found in self.findings.values()])

    @property
    def unknown(self) -> Mask:
        """Files on which some criterion could not be evaluated."""
        return self._any([found.unknown for found in self.findings.values()])

    def _any(self, masks: list[Mask]) -> Mask:
        either = np.zeros(len(self.criterion), dtype=bool)
        for mask in masks:
            either |= mask
        return either


def judge(files: pd.DataFrame, params: Exclude, decisions: pd.DataFrame) -> Verdict:
    """Apply every criterion that is switched on.

    A reader's ``exclude`` stands before all criteria; a reader's ``keep`` lifts those that are not
    final, and what it lifts stays in `Verdict.findings`.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.evidence.gather` returns them.
    params : Exclude
    decisions : DataFrame
        `dsnet.schemas.DECISIONS`.
    """
    decided = _by_file(files, decisions)
    keeps = np.asarray(decided["decision"] == "keep", dtype=bool)
    excludes = np.asarray(decided["decision"] == "exclude", dtype=bool)
    criterion = np.where(excludes, REVIEW, "").astype(object)
    findings: dict[str, Finding] = {}
    excluding = {REVIEW: excludes}
    lifted = np.zeros(len(files), dtype=bool)
    for rule in CRITERIA:
        if not rule.enabled(params):
            continue
        standing = np.asarray(criterion == "", dtype=bool)
        found = rule.find(Case(files, params, standing))
        kept = found.fails & keeps & (not rule.final)
        findings[rule.slug] = found
        excluding[rule.slug] = found.fails & ~kept
        criterion[standing & excluding[rule.slug]] = rule.slug
        lifted |= kept
    return Verdict(criterion, findings, excluding, lifted, decided["decided_by"].to_numpy(object))


def _by_file(files: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Return ``decision`` and ``decided_by`` of each file; a narrower scope overrides a wider one.

    Both are "" where no reader decided.
    """
    decided = pd.DataFrame({"decision": "", "decided_by": ""}, index=files.index, dtype=object)
    named = decisions.assign(
        decided_by=[
            f"review row {row} ({reviewer}, {day})"
            for row, reviewer, day in decisions[["row", "reviewer", "date"]].to_numpy()
        ]
    )
    for scope in ("patient", "series", "file"):
        own = named[named["scope"] == scope].set_index("key")[["decision", "decided_by"]]
        of_scope = own.reindex(files[f"{scope}_key"]).set_index(files.index)
        decided = of_scope.where(of_scope["decision"].notna(), decided, axis=0)
    return decided
