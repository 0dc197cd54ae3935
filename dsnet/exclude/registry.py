"""Every criterion, in the order in which they count."""

from dataclasses import dataclass
from typing import Final

from dsnet.config.cohort import Exclude
from dsnet.exclude import anatomy, density, history, quality
from dsnet.exclude.criterion import Criterion

CRITERIA: Final[tuple[Criterion, ...]] = (
    *quality.CRITERIA,
    *anatomy.ANNOTATION_CRITERIA,
    *density.CRITERIA,
    *history.CRITERIA,
    *anatomy.LEVEL_CRITERIA,
)
"""In the paper's order; the keys of `dsnet.config.Criteria` are the same."""

REVIEW: Final = "review"
REVIEW_CODE: Final = "R01"
REVIEW_REASON: Final = "A reader excluded it."


@dataclass(frozen=True)
class Described:
    """A criterion as ``dsnet criteria`` prints it."""

    slug: str
    code: str
    scope: str
    reason: str
    threshold: str
    enabled: bool
    source: str


def criteria_table(params: Exclude) -> list[Described]:
    """Return what each criterion says under `params`, in order."""
    return [
        Described(
            criterion.slug,
            criterion.code,
            criterion.scope,
            criterion.reason,
            criterion.threshold(params),
            criterion.enabled(params),
            criterion.source,
        )
        for criterion in CRITERIA
    ]
