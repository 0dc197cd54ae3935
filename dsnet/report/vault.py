"""The private map, where it is at hand: a report is also made where only results are."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError
from dsnet.pseudonym import open_vault


def identities(cohort: Path, private: Path) -> pd.DataFrame | None:
    """Return `dsnet.schemas.MAP`, or None where key or map are not at hand.

    Parameters
    ----------
    cohort, private : Path
        The config keys of that name.
    """
    try:
        vault = open_vault(private, CohortFolder(cohort))
    except UserError:  # no key: what it would have told is then said to be missing
        return None
    return schemas.read(schemas.MAP, vault.map_path) if vault.map_path.exists() else None
