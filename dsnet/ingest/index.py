"""The facts of all files as two tables: the pseudonymous index and the private map."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandera.pandas import DataFrameSchema

from dsnet import schemas
from dsnet.dicom.geometry import stack
from dsnet.dicom.identifying import Value
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import parent
from dsnet.dicom.vocabulary import is_kernel_name
from dsnet.ingest.cache import facts_table
from dsnet.private import Kind, PrivateCohort

_IDENTITIES: dict[Kind, str] = {
    "patient": "patient_id",
    "study": "study_instance_uid",
    "series": "series_instance_uid",
    "image": "sop_instance_uid",
}

_KERNEL_LENGTH = 16

_OF_STACK = ("slice_number", "series_spacing_mm", "irregular_fraction")


def tables(facts: pd.DataFrame, private: PrivateCohort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the index and the map, one row per file each.

    The order of the index shows nothing of names and does not depend on the key: patients, then
    their series, by their smallest pixel hash, slices by position. The map follows the paths.

    Parameters
    ----------
    facts : pandas.DataFrame
        As `dsnet.ingest.cache.Cache.facts` returns it.
    private : PrivateCohort
        Makes the keys.

    Returns
    -------
    index : pandas.DataFrame
        `schemas.INDEX`.
    identities : pandas.DataFrame
        `schemas.MAP`.
    """
    rows = facts.copy(deep=False)
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
    of_headers: pd.DataFrame, kernels: pd.DataFrame, beside: Sequence[Value]
) -> pd.DataFrame:
    """Return `schemas.IDENTIFYING`: every value of a header with its patient, and those beside.

    Parameters
    ----------
    of_headers : pandas.DataFrame
        As `dsnet.ingest.cache.Cache.identifying` returns it.
    kernels : pandas.DataFrame
        Columns ``kernel``, as in the headers, and ``patient_key``.
    beside : sequence of Value
        Of the cohort's tables and paths.
    """
    unnamed = kernels[kernels["kernel"].isin(_unnamed(kernels["kernel"]))].drop_duplicates()
    of_kernels = [
        (kernel, "ConvolutionKernel", "text", key)
        for kernel, key in unnamed.itertuples(index=False, name=None)
    ]
    of_beside = [(one.text, one.kind, one.form, "") for one in beside]
    columns = list(schemas.IDENTIFYING.columns)
    others = pd.DataFrame(of_kernels + of_beside, columns=columns).astype(str)
    met = pd.concat([of_headers[columns], others], ignore_index=True).drop_duplicates()
    return met.sort_values(columns, ignore_index=True)


def replaced_kernels(kernels: "pd.Series[str]", private: PrivateCohort) -> pd.DataFrame:
    """Return the kernels that the index does not name, with the placeholder of each.

    Parameters
    ----------
    kernels : Series of str
        As in the headers.
    private : PrivateCohort

    Returns
    -------
    pandas.DataFrame
        ``kernel``, as in the index, and ``text``, as in the headers. For the private folder alone.
    """
    rows = [(_published(text, private), text) for text in _unnamed(kernels)]
    return pd.DataFrame(rows, columns=["kernel", "text"])


def _unnamed(kernels: "pd.Series[str]") -> list[str]:
    """Return the kernels that may be anything, a person's name too."""
    return [text for text in sorted(kernels.unique()) if not is_kernel_name(text)]


def _published(kernel: str, private: PrivateCohort) -> str:
    """Return a kernel's name, or a placeholder where it may hold anything, a person's name too."""
    if is_kernel_name(kernel):
        return kernel[:_KERNEL_LENGTH].strip()
    return private.pseudonym("kernel", kernel)


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
        identity = rows[column].astype(str)
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
        blank = facts_table([("", Facts("withdrawn"))]).iloc[0]
        for column in rows.columns.difference(list(kept)):
            if isinstance(rows[column].dtype, pd.CategoricalDtype):
                rows[column] = rows[column].astype(str)
            rows.loc[own, column] = blank.get(column, "" if column.endswith("_key") else False)
        rows.loc[own, "relative_path"] = rows.loc[own, "file_key"]


def _add_stacks(rows: pd.DataFrame) -> None:
    """Add order and spacing of the slices of each series, apart for each direction in it.

    Also how many different images of one kind there are at a slice's position: more than one are
    reconstructions that share a series.
    """
    placed = rows.loc[
        rows["readable"] & rows["position_mm"].notna(),
        ["series_key", "normal", "position_mm", "decoded", "image_kind", "pixel_hash"],
    ].copy()
    by_direction = placed.groupby(["series_key", "normal"], sort=False)
    placed["stack"] = by_direction.ngroup()
    positions_mm = placed["position_mm"].to_numpy(float)
    order = {name: np.full(len(placed), np.nan) for name in _OF_STACK}
    for members in by_direction.indices.values():
        own = stack(positions_mm[members])
        order["slice_number"][members] = own.slice_number
        order["series_spacing_mm"][members] = own.spacing_mm
        order["irregular_fraction"][members] = own.irregular_fraction
    placed = placed.assign(**order)
    decoded = placed[placed["decoded"]]
    same = decoded.groupby(["stack", "slice_number", "image_kind"])["pixel_hash"]
    placed["images_at_position"] = same.transform("nunique")
    for name in (*_OF_STACK, "images_at_position"):
        rows[name] = placed[name].reindex(rows.index)
    for name in ("slice_number", "images_at_position"):
        rows[name] = rows[name].astype("Int64")


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
