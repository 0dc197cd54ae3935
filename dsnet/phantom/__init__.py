"""The built-in synthetic cohort: lumbar CT of invented people, with an answer key.

Parsing the workflow imports this module, so it loads neither SciPy nor pydicom.
"""

import json
from pathlib import Path

from dsnet.cohort.folder import CohortFolder


def is_pristine(cohort: CohortFolder, answers: Path) -> bool:
    """Return whether `cohort` is still the phantom that its answer key describes.

    Paths and sizes of slices and the bytes of tables count; dates do not, since a copy has others.
    """
    if not answers.exists():
        return False
    shape = json.loads(answers.read_text(encoding="utf-8")).get("shape")
    return bool(shape == cohort.shape())
