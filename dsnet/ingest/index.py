"""The facts of all files as two tables: the pseudonymous index and the private map."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from pandera.pandas import DataFrameSchema

from dsnet import schemas
from dsnet.dicom import header, pixels
from dsnet.dicom.geometry import stack
from dsnet.dicom.header import Header
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import Evidence
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, parent
from dsnet.dicom.vocabulary import is_kernel_name
from dsnet.private import Kind, PrivateCohort

_IDENTITIES: dict[Kind, str] = {
    "patient": "patient_id",
    "study": "study_instance_uid",
    "series": "series_instance_uid",
    "image": "sop_instance_uid",
}

_KERNEL_LENGTH = 16

_HEADER = [field.name for field in fields(Header)]
_EVIDENCE = [field.name for field in fields(Evidence)]


def tables(
    files: Sequence[ScannedFile], facts: Mapping[str, Facts], private: PrivateCohort
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the index and the map, one row per file each.

    The order of the index shows nothing of names and does not depend on the key: patients, then
    their series, by their smallest pixel hash, slices by position. The map follows the paths.

    Parameters
    ----------
    files : sequence of ScannedFile
    facts : mapping of str to Facts
        By relative path, one for each file.
    private : PrivateCohort
        Makes the keys.

    Returns
    -------
    index : pandas.DataFrame
        `schemas.INDEX`.
    identities : pandas.DataFrame
        `schemas.MAP`.
    """
    rows = pd.DataFrame([_row(file, facts[file.relative]) for file in files])
    rows["uid_known"] = rows["sop_instance_uid"] != ""
    rows["patient_known"] = rows["patient_id"] != ""
    rows["date_known"] = rows["ct_date"] != ""
    _add_keys(rows, private)
    _blank_withdrawn(rows, private.withdrawn())
    _add_stacks(rows)
    rows["kernel"] = rows["kernel"].map(
        {kernel: _published(kernel, private) for kernel in rows["kernel"].unique()}
    )
    return _as(schemas.INDEX, _by_content(rows)), _as(schemas.MAP, rows)


def identifying_values(
    files: Sequence[ScannedFile],
    facts: Mapping[str, Facts],
    identities: pd.DataFrame,
    beside: Sequence[Value],
) -> pd.DataFrame:
    """Return `schemas.IDENTIFYING`: every value of a header with its patient, and those beside.

    Parameters
    ----------
    files, facts
        As for `tables`.
    identities : pandas.DataFrame
        `schemas.MAP`.
    beside : sequence of Value
        Of the cohort's tables and paths.
    """
    patient = dict(zip(identities["relative_path"], identities["patient_key"], strict=True))
    met = {
        (value.text, value.kind, value.form, patient[file.relative])
        for file in files
        for value in facts[file.relative].identifying
    }
    met |= {
        (kernel, "ConvolutionKernel", "text", patient[file.relative])
        for file in files
        if (kernel := _kernel(facts[file.relative])) and not is_kernel_name(kernel)
    }
    met |= {(value.text, value.kind, value.form, "") for value in beside}
    return pd.DataFrame(sorted(met), columns=list(schemas.IDENTIFYING.columns)).astype(str)


def replaced_kernels(
    files: Sequence[ScannedFile], facts: Mapping[str, Facts], private: PrivateCohort
) -> pd.DataFrame:
    """Return the kernels that the index does not name, with the placeholder of each.

    Parameters
    ----------
    files, facts, private
        As for `tables`.

    Returns
    -------
    pandas.DataFrame
        ``kernel``, as in the index, and ``text``, as in the headers. For the private folder alone.
    """
    texts = sorted({_kernel(facts[file.relative]) for file in files})
    rows = [(_published(text, private), text) for text in texts if not is_kernel_name(text)]
    return pd.DataFrame(rows, columns=["kernel", "text"])


def _kernel(facts: Facts) -> str:
    return facts.header.kernel if facts.header else ""


def _published(kernel: str, private: PrivateCohort) -> str:
    """Return a kernel's name, or a placeholder where it may hold anything, a person's name too."""
    if is_kernel_name(kernel):
        return kernel[:_KERNEL_LENGTH].strip()
    return private.pseudonym("kernel", kernel)


def _row(file: ScannedFile, facts: Facts) -> dict[str, Any]:
    head = facts.header or header.BLANK
    evidence = facts.evidence or pixels.NOTHING
    return {
        "relative_path": file.relative,
        "readable": facts.header is not None,
        "decoded": facts.evidence is not None,
        "fault": facts.fault,
        "fault_class": facts.fault_class,
        "fault_frame": facts.fault_frame,
        **{name: getattr(head, name) for name in _HEADER},
        **{name: getattr(evidence, name) for name in _EVIDENCE},
    }


def _add_keys(rows: pd.DataFrame, private: PrivateCohort) -> None:
    """Add the five keys; those of an unreadable file are "", its file key excepted.

    Where an identity is blank, the file itself stands for the image, and its folder for series,
    study and patient: blanks of different folders are never the same.
    """
    paths = rows["relative_path"]
    rows["path_rank"] = paths.rank(method="first").astype(int) - 1
    rows["file_key"] = [private.path_pseudonym("file", path) for path in paths]
    folders = paths.map(parent)
    for kind, column in _IDENTITIES.items():
        identity = rows[column]
        known = identity != ""
        if kind == "series":  # copied UIDs: one SeriesInstanceUID of two patients is two series
            identity = rows["patient_key"] + "\0" + identity
        stand_in = paths if kind == "image" else folders
        keys = {value: private.pseudonym(kind, value) for value in identity[known].unique()}
        paths_keys = {
            path: private.path_pseudonym(kind, path) for path in stand_in[~known].unique()
        }
        key = identity.map(keys).where(known, stand_in.map(paths_keys))
        rows[f"{kind}_key"] = key.where(rows["readable"], "")


def _blank_withdrawn(rows: pd.DataFrame, withdrawn: frozenset[str]) -> None:
    """Keep nothing of the files of patients who withdrew, except whose they are, as a key."""
    own = rows["patient_key"].isin(withdrawn)
    if own.any():
        kept = {"file_key", "patient_key", "path_rank"}
        blank = _row(ScannedFile("", "", 0, 0), Facts("withdrawn"))
        for column in rows.columns.difference(list(kept)):
            rows.loc[own, column] = blank.get(column, "" if column.endswith("_key") else False)
        rows.loc[own, "relative_path"] = rows.loc[own, "file_key"]


def _add_stacks(rows: pd.DataFrame) -> None:
    """Add order and spacing of the slices of each series, apart for each direction in it.

    Also how many different images of one kind there are at a slice's position: more than one are
    reconstructions that share a series.
    """
    rows["slice_number"] = pd.array([None] * len(rows), "Int64")
    rows["images_at_position"] = pd.array([None] * len(rows), "Int64")
    rows[["series_spacing_mm", "irregular_fraction"]] = np.nan
    placed = rows[rows["readable"] & rows["position_mm"].notna()]
    for _, part in placed.groupby(["series_key", "normal"], sort=False):
        order = stack(part["position_mm"].to_numpy(float))
        rows.loc[part.index, "slice_number"] = order.slice_number
        rows.loc[part.index, "series_spacing_mm"] = order.spacing_mm
        rows.loc[part.index, "irregular_fraction"] = order.irregular_fraction
        decoded = part[part["decoded"]].assign(slice_number=rows["slice_number"])
        same = decoded.groupby(["slice_number", "image_kind"])["pixel_hash"]
        rows.loc[decoded.index, "images_at_position"] = same.transform("nunique")


def _by_content(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in an order that follows from the pixels; unread files come last."""
    last = "~"
    content = rows["pixel_hash"].where(rows["decoded"], last)
    order = pd.DataFrame(
        {
            "readable": ~rows["readable"],
            "patient": content.groupby(rows["patient_key"]).transform("min"),
            "series": content.groupby(rows["series_key"]).transform("min"),
            "position": rows["position_mm"],
            "content": content,
            "path": rows["relative_path"],
        }
    )
    return rows.loc[order.sort_values(list(order.columns)).index].reset_index(drop=True)


def _as(schema: DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `schema`, in its order and of its types."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return rows[list(types)].astype(types)
