"""Telling the built-in phantom as it was made from one that somebody changed."""

import json
from pathlib import Path

from dsnet.cohort.folder import CohortFolder


def is_pristine(cohort: CohortFolder, answers: Path) -> bool:
    """Return whether `cohort` is still what its answer key says was made.

    Paths and sizes of slices and the bytes of tables count; dates do not, since a copy has others.
    """
    if not answers.exists():
        return False
    shape = json.loads(answers.read_text(encoding="utf-8")).get("shape")
    return bool(shape == cohort.shape())
