"""The label step: ledger and the user's tables in, one class per box out."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.cohort.dxa import read_dxa
from dsnet.cohort.folder import CohortFolder
from dsnet.config import Dxa, Label
from dsnet.errors import UserError
from dsnet.label.table import label_boxes
from dsnet.pseudonym import open_vault


def label(
    *,
    params: Label,
    dxa: Dxa,
    cohort: Path,
    private: Path,
    index: Path,
    boxes: Path,
    ledger: Path,
    labels: Path,
) -> None:
    """Label the boxes of every included image.

    Parameters
    ----------
    params : Label
    dxa : Dxa
        How the DXA table is read.
    cohort : Path
        The cohort folder, for its DXA table.
    private : Path
        The folder of the config key ``private``, for the map.
    index, boxes, ledger : Path
        `dsnet.schemas.INDEX`, `dsnet.schemas.ANNOTATIONS` and `dsnet.schemas.LEDGER`.
    labels : Path
        Written: `dsnet.schemas.LABELS`.

    Raises
    ------
    UserError
        If no image is included, or one has no label.
    """
    folder = CohortFolder(cohort)
    files = schemas.read(schemas.INDEX, index)
    identities = schemas.read(schemas.MAP, open_vault(private, folder).map_path)
    judged = schemas.read(schemas.LEDGER, ledger)
    images = _included(judged, files, identities)
    drawn = used(schemas.read(schemas.ANNOTATIONS, boxes))
    measured = read_dxa(folder.dxa, params.t_score, dxa)
    schemas.write(schemas.LABELS, label_boxes(images, drawn, measured, params.t_score), labels)


def _included(judged: pd.DataFrame, files: pd.DataFrame, identities: pd.DataFrame) -> pd.DataFrame:
    included = judged.loc[judged["status"] == "included", ["file_key", "image_key", "patient_key"]]
    if included.empty:
        raise UserError(
            "ledger.csv",
            expected="at least one included image",
            came=_why_empty(judged),
            remedy="see dsnet audit; mend the cohort's tables, or relax a criterion in the config",
        )
    private = identities[["file_key", "relative_path", "patient_id", "ct_date"]]
    studies = files[["file_key", "study_key"]]
    return included.merge(studies, on="file_key", validate="1:1").merge(
        private, on="file_key", validate="1:1"
    )


def _why_empty(judged: pd.DataFrame) -> str:
    counts = judged["criterion"].value_counts()
    reasons = ", ".join(f"{slug} {number}" for slug, number in counts.items())
    return f"none of {len(judged)} files ({reasons})" if len(judged) else "no file at all"
