"""The flow of the cohort, put into the stages that a CONSORT diagram shows."""

from dataclasses import dataclass
from typing import Any

from dsnet.errors import UserError
from dsnet.exclude import anatomy, density, history, quality
from dsnet.exclude.registry import REVIEW

Counts = dict[str, int]

TITLES = (
    ("a reader's decision", (REVIEW,)),
    ("image quality", tuple(rule.slug for rule in quality.CRITERIA)),
    ("anatomy", tuple(rule.slug for rule in anatomy.ANNOTATION_CRITERIA)),
    ("DXA reference", tuple(rule.slug for rule in density.CRITERIA)),
    ("clinical history", tuple(rule.slug for rule in history.CRITERIA)),
    ("levels left", tuple(rule.slug for rule in anatomy.LEVEL_CRITERIA)),
)
"""Stages, and the criteria of each in the order in which they count."""

_WORDS = {"ct": "CT", "hu": "HU", "dxa": "DXA", "t": "T"}


@dataclass(frozen=True)
class Stage:
    """Criteria that belong together.

    Attributes
    ----------
    title : str
    steps : tuple of dict
        Those of ``flow.json`` that removed something.
    without : int
        How many more removed nothing.
    removed, remain : dict of str to int
        By files, images and patients: of all its criteria, and after them.
    """

    title: str
    steps: tuple[dict[str, Any], ...]
    without: int
    removed: Counts
    remain: Counts


def stages(flow: dict[str, Any]) -> list[Stage]:
    """Return the stages that ``flow.json`` goes through.

    Raises
    ------
    UserError
        If it holds a criterion that this version does not know.
    """
    title_of = {slug: title for title, slugs in TITLES for slug in slugs}
    unknown = [step["slug"] for step in flow["steps"] if step["slug"] not in title_of]
    if unknown:
        raise UserError(
            "flow.json",
            expected="the criteria that dsnet criteria prints",
            came=f"{unknown[0]}",
            remedy="run the workflow again, so that flow and report come from one version",
        )
    found = []
    for title, _ in TITLES:
        steps = [step for step in flow["steps"] if title_of[step["slug"]] == title]
        if steps:
            found.append(_stage(title, steps))
    return found


def _stage(title: str, steps: list[dict[str, Any]]) -> Stage:
    acting = tuple(step for step in steps if any(step["removed"].values()))
    removed = {unit: sum(step["removed"][unit] for step in steps) for unit in steps[0]["removed"]}
    return Stage(title, acting, len(steps) - len(acting), removed, steps[-1]["remain"])


def words(slug: str) -> str:
    """Return a criterion's slug as words: ``no_dxa`` as ``no DXA``."""
    return " ".join(_WORDS.get(word, word) for word in slug.split("_"))


def many(number: int, noun: str) -> str:
    """Return a number and its noun: ``1 file``, ``2 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
