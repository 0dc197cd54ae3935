"""All annotations of a cohort, and what became of each."""

from pathlib import Path

import pandas as pd

from dsnet.cohort.annotations.images import ImageFiles
from dsnet.cohort.annotations.place import place
from dsnet.cohort.annotations.read import Reader
from dsnet.config import Annotations


def collect(
    folder: Path, index: pd.DataFrame, identities: pd.DataFrame, params: Annotations
) -> pd.DataFrame:
    """Return the status of every annotation below `folder`.

    Parameters
    ----------
    folder : Path
        The cohort's ``annotations/``; it need not exist.
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    params : Annotations

    Returns
    -------
    DataFrame
        `dsnet.schemas.ANNOTATIONS`.

    Raises
    ------
    UserError
        If a file or a row cannot be read, has no image or no level, or two boxes are in conflict;
        of the latter, unless the config has them only reported.
    """
    annotations = Reader(index, identities, params).read(folder)
    return place(annotations, ImageFiles(index, identities), params)
