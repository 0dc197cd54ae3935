"""How many files, images and patients are left after each criterion."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from dsnet.config.cohort import Exclude
from dsnet.exclude.criterion import Mask
from dsnet.exclude.registry import REVIEW, REVIEW_CODE, REVIEW_REASON, Described, criteria_table
from dsnet.exclude.verdict import Verdict
from dsnet.results import Source

_READER = Described(REVIEW, REVIEW_CODE, "file", REVIEW_REASON, "", True, "review.csv")


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


def flow(
    files: pd.DataFrame,
    verdict: Verdict,
    exclusions: pd.DataFrame,
    params: Exclude,
    source: Source,
) -> dict[str, Any]:
    """Return the flow of the cohort through the criteria, ready for JSON.

    Returns
    -------
    dict
        ``cohort`` (name, synthetic); ``found``, the counts of the index; ``files_without_patient``;
        ``steps``, a reader's exclusions first, then every criterion in order, with the counts that
        it ``removed`` and that ``remain`` after it, what ``failed`` it at all, what of the files
        included is ``flagged`` for review by it or was ``not_evaluated``, and of how many patients
        it is the criterion in ``exclusions.csv``; ``included``, and of these, what any criterion
        flagged or could not evaluate. Files removed and included add up to the files found.
    """
    count = Counter(files)
    everything = np.ones(len(files), dtype=bool)
    remaining = everything
    steps = []
    for described in (_READER, *criteria_table(params)):
        before = count(remaining)
        remaining = remaining & (verdict.criterion != described.slug)
        after = count(remaining)
        steps.append(
            {
                **asdict(described),
                "removed": asdict(_difference(before, after)),
                "remain": asdict(after),
                **_findings(count, verdict, described.slug),
                "patients_excluded": int((exclusions["criterion"] == described.slug).sum()),
            }
        )
    included = verdict.included
    return {
        "cohort": {"name": source.name, "synthetic": source.synthetic},
        "found": asdict(count(everything)),
        "files_without_patient": int((files["patient_key"] == "").sum()),
        "steps": steps,
        "included": asdict(count(included)),
        "included_flagged": asdict(count(included & verdict.flagged)),
        "included_not_evaluated": asdict(count(included & verdict.unknown)),
    }


def _difference(before: Count, after: Count) -> Count:
    return Count(
        before.files - after.files, before.images - after.images, before.patients - after.patients
    )


def _findings(count: Counter, verdict: Verdict, slug: str) -> dict[str, Any]:
    found = verdict.findings.get(slug)
    nothing = np.zeros(len(verdict.criterion), dtype=bool)
    kept = verdict.included
    return {
        "failed": asdict(count(found.fails if found else verdict.excluding.get(slug, nothing))),
        "flagged": asdict(count(kept & found.flags if found else nothing)),
        "not_evaluated": asdict(count(kept & found.unknown if found else nothing)),
    }
