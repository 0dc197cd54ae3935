"""The patients to be split: class, levels, and which of them must stay together."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dsnet.errors import UserError
from dsnet.schemas import CLASSES, LEVELS

_IDENTITIES = ("study_key", "image_key", "pixel_hash")
"""Columns of the index by which two patients may turn out to be one."""


def describe(boxes: pd.DataFrame, files: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per labelled patient, whatever the order of the rows that come in.

    Parameters
    ----------
    boxes : pandas.DataFrame
        `schemas.LABELS`.
    files : pandas.DataFrame
        `schemas.INDEX`.
    seed : int
        Shuffles `order`.

    Returns
    -------
    pandas.DataFrame
        Indexed by patient key: `stratum` (the most severe class among the patient's boxes),
        `complete` (all of L1-L4 are labelled), `group` (an arbitrary number, equal for patients
        that must share a part) and `order`, 64 hexadecimal digits of SHA-256 over the seed and the
        pixel hashes of the group's labelled images. It follows from content alone, so that
        neither the rows nor the secret key behind the pseudonyms move a patient.

    Raises
    ------
    UserError
        If a labelled file is not in the index, or was never decoded.
    """
    images = labelled_images(boxes, files)
    severity = boxes["label"].map(CLASSES.index).groupby(boxes["patient_key"]).max()
    patients = pd.DataFrame({"stratum": severity.map(CLASSES.__getitem__)})
    levels = boxes.groupby("patient_key")["level"].nunique()
    patients["complete"] = levels == len(LEVELS)
    patients["group"] = _groups(patients.index, boxes, files)
    group = images["patient_key"].map(patients["group"])
    order = images["pixel_hash"].groupby(group).agg(lambda hashes: _order(hashes, seed))
    return patients.assign(order=patients["group"].map(order))


def labelled_images(boxes: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Return `file_key`, `patient_key` and `pixel_hash` of each labelled file.

    Raises
    ------
    UserError
        If a labelled file is not in the index, or was never decoded.
    """
    labelled = boxes[["file_key", "patient_key"]].drop_duplicates("file_key")
    hashes = labelled["file_key"].map(files.set_index("file_key")["pixel_hash"]).fillna("")
    missing = labelled.loc[hashes == "", "file_key"]
    if len(missing):
        raise UserError(
            f"labels.csv row {missing.index[0] + 2} ({missing.iloc[0]})",
            expected="a file that index.parquet knows, with decoded pixels",
            came="one that it does not know or could not decode",
            remedy="run the workflow again, so that both tables come from the same files",
        )
    return labelled.assign(pixel_hash=hashes)


def _order(hashes: Iterable[str], seed: int) -> str:
    text = "\n".join([str(seed), *sorted(hashes)])
    return hashlib.sha256(text.encode()).hexdigest()


def _groups(patients: "pd.Index[str]", boxes: pd.DataFrame, files: pd.DataFrame) -> list[int]:
    """Return, for each patient, the number of its connected component of shared identities.

    All original images of the labelled patients count, not only the labelled ones: a copy that was
    excluded as a duplicate still tells that two hospital IDs are one person. Report screens and
    blank images tell nothing: they may be the same in everybody.
    """
    labelled = files["file_key"].isin(boxes["file_key"])
    original = files["decoded"] & (files["image_kind"] == "original")
    blank = files["hu_min"] == files["hu_max"]
    rows = files[files["patient_key"].isin(patients) & (labelled | (original & ~blank))]
    links = rows.melt("patient_key", list(_IDENTITIES), var_name="kind", value_name="identity")
    links = links[links["identity"] != ""].drop_duplicates()
    # A bipartite graph: patients on one side, identities behind them on the other.
    identities = links.groupby(["kind", "identity"])
    identity = identities.ngroup().to_numpy() + len(patients)
    patient = patients.get_indexer(pd.Index(links["patient_key"]))
    nodes = len(patients) + identities.ngroups
    graph = coo_array((np.ones(len(links)), (patient, identity)), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return [int(number) for number in component[: len(patients)]]
