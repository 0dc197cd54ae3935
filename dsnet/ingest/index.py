"""The facts of all files as two tables: the pseudonymous index and the private map."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandera.pandas import DataFrameSchema

from dsnet import schemas
from dsnet.dicom.geometry import stack
from dsnet.dicom.identifying import Value
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import parent
from dsnet.dicom.vocabulary import is_kernel_name
from dsnet.ingest.cache import facts_table
from dsnet.private import Kind, PrivateCohort

_KERNEL_LENGTH = 16

AT_A_TIME = 50_000
"""Rows that are in memory with all their columns."""

ARRANGED_BY = (
    "relative_path",
    "readable",
    "decoded",
    "patient_id",
    "series_instance_uid",
    "position_mm",
    "normal",
    "image_kind",
    "pixel_hash",
)
"""Facts of all files that decide where one stands; the others are needed for some at a time."""

_OF_STACK = ("slice_number", "series_spacing_mm", "irregular_fraction", "images_at_position")


def tables(facts: pd.DataFrame, private: PrivateCohort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the index and the map, one row per file each, in the order of `arrange`.

    Parameters
    ----------
    facts : pandas.DataFrame
        As `dsnet.ingest.cache.Cache.facts` returns it, with all columns.
    private : PrivateCohort
        Makes the keys.

    Returns
    -------
    index : pandas.DataFrame
        `schemas.INDEX`.
    identities : pandas.DataFrame
        `schemas.MAP`.
    """
    facts = facts.sort_values("relative_path", ignore_index=True)
    arranged = arrange(facts, private)
    return rows_of(facts.iloc[arranged["path_rank"]], arranged, private)


def arrange(facts: pd.DataFrame, private: PrivateCohort) -> pd.DataFrame:
    """Return where each file stands among the others.

    The order shows nothing of names and does not depend on the key: patients, then their series, by
    their smallest pixel hash, slices by position; unread files come last.

    Parameters
    ----------
    facts : pandas.DataFrame
        The columns `ARRANGED_BY`, of all files, in the order of their paths.
    private : PrivateCohort
        Makes the keys, and says who withdrew.

    Returns
    -------
    pandas.DataFrame
        One row per file, in the order of the index: ``relative_path``, ``path_rank``,
        ``patient_key``, ``series_key``, ``withdrawn``, and what the other slices of its series say
        of a slice.
    """
    rows = facts[list(ARRANGED_BY)].copy(deep=False)
    rows["path_rank"] = np.arange(len(rows))
    patients = _keys("patient", rows["patient_id"], rows, private)
    # Copied UIDs: one SeriesInstanceUID of two patients is two series.
    uids = patients.astype(str) + "\0" + rows["series_instance_uid"].astype(str)
    series = uids.where(rows["series_instance_uid"] != "", "")
    rows["patient_key"], rows["series_key"] = patients, _keys("series", series, rows, private)
    rows["withdrawn"] = patients.isin(private.withdrawn())
    rows["readable"] &= ~rows["withdrawn"]
    content = pc.rank(pa.array(rows["pixel_hash"], pa.string()), tiebreaker="dense").to_numpy()
    rows["content"] = np.where(rows["decoded"] & rows["readable"], content, len(rows) + 1)
    _add_stacks(rows)
    return _by_content(rows)[
        ["relative_path", "path_rank", "patient_key", "series_key", "withdrawn", *_OF_STACK]
    ]


def rows_of(
    facts: pd.DataFrame, arranged: pd.DataFrame, private: PrivateCohort
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows of the index and of the map.

    Parameters
    ----------
    facts : pandas.DataFrame
        Of some files, with all columns of `dsnet.ingest.cache.Cache.facts`.
    arranged : pandas.DataFrame
        Rows of `arrange` of the same files, in the same order.
    private : PrivateCohort

    Returns
    -------
    index : pandas.DataFrame
        `schemas.INDEX`.
    identities : pandas.DataFrame
        `schemas.MAP`.
    """
    rows = facts.reset_index(drop=True)
    for name in arranged.columns.drop("relative_path"):
        rows[name] = arranged[name].array
    paths = rows["relative_path"]
    rows["file_key"] = [private.path_pseudonym("file", path) for path in paths]
    rows["image_key"] = _keys("image", rows["sop_instance_uid"], rows, private)
    rows["study_key"] = _keys("study", rows["study_instance_uid"], rows, private)
    rows["uid_known"] = rows["sop_instance_uid"] != ""
    rows["patient_known"] = rows["patient_id"] != ""
    rows["date_known"] = rows["ct_date"] != ""
    rows["kernel"] = rows["kernel"].map(
        {kernel: _published(kernel, private) for kernel in rows["kernel"].unique()}
    )
    _blank_withdrawn(rows)
    return _as(schemas.INDEX, rows), _as(schemas.MAP, rows)


def identifying_values(
    of_headers: pa.Table, kernels: pd.DataFrame, beside: Sequence[Value]
) -> Iterator[pd.DataFrame]:
    """Yield `schemas.IDENTIFYING`: every value of a header with its patient, and those beside.

    Parameters
    ----------
    of_headers : pyarrow.Table
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
    cells = zip(*of_kernels, *of_beside, strict=True) if of_kernels or of_beside else [()] * 4
    columns = list(schemas.IDENTIFYING.columns)
    others = [
        pa.array(some, of_headers.schema.field(name).type)
        for name, some in zip(columns, cells, strict=True)
    ]
    met = pa.concat_tables([of_headers.select(columns), pa.table(others, columns)])
    met = met.unify_dictionaries().combine_chunks()
    order = pc.sort_indices(
        pa.table([_ranks(met[name]) for name in columns], columns),
        sort_keys=[(name, "ascending") for name in columns],
    )
    for start in range(0, max(1, len(order)), AT_A_TIME):
        # With the row before them, which they may repeat.
        some = met.take(order[max(0, start - 1) : start + AT_A_TIME]).to_pandas().astype(str)
        yield some.drop_duplicates().iloc[min(start, 1) :]


def _ranks(column: pa.ChunkedArray) -> pa.Array:
    """Return what sorts as the texts of a column do."""
    (values,) = column.chunks or [column.combine_chunks()]
    if not pa.types.is_dictionary(column.type):
        return values
    return pc.rank(values.dictionary).take(values.indices)


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


def _keys(
    kind: Kind, identities: "pd.Series[str]", rows: pd.DataFrame, private: PrivateCohort
) -> "pd.Series[str]":
    """Return keys, as categories; that of an unreadable file is "".

    Where an identity is blank, the file itself stands for the image, and its folder for series,
    study and patient: blanks of different folders are never the same.
    """
    readable, known = rows["readable"].to_numpy(bool), (identities != "").to_numpy(bool)
    codes, keys = np.zeros(len(rows), np.int32), [""]
    blank = rows.loc[readable & ~known, "relative_path"]
    stand_in = blank if kind == "image" else blank.map(parent)
    for where, values, pseudonym in (
        (readable & known, identities[readable & known], private.pseudonym),
        (readable & ~known, stand_in, private.path_pseudonym),
    ):
        found, unique = pd.factorize(values)
        codes[where] = found + len(keys)
        keys += [pseudonym(kind, value) for value in unique]
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(keys)), rows.index)


def _blank_withdrawn(rows: pd.DataFrame) -> None:
    """Keep nothing of the files of patients who withdrew, except whose they are, as a key."""
    own = rows["withdrawn"]
    if own.any():
        kept = {"file_key", "patient_key", "path_rank", *_OF_STACK}
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
    placed = rows.loc[rows["readable"] & rows["position_mm"].notna()]
    codes = [placed[name].cat.codes for name in ("series_key", "normal", "image_kind")]
    placed = pd.DataFrame(
        dict(zip(("series", "normal", "kind"), codes, strict=True))
        | {name: placed[name] for name in ("position_mm", "decoded", "content")}
    )
    by_direction = placed.groupby(["series", "normal"], sort=False)
    placed["stack"] = by_direction.ngroup()
    positions_mm = placed["position_mm"].to_numpy(float)
    order = {name: np.full(len(placed), np.nan) for name in _OF_STACK[:3]}
    for members in by_direction.indices.values():
        own = stack(positions_mm[members])
        order["slice_number"][members] = own.slice_number
        order["series_spacing_mm"][members] = own.spacing_mm
        order["irregular_fraction"][members] = own.irregular_fraction
    placed = placed.assign(**order)
    decoded = placed[placed["decoded"]]
    same = decoded.groupby(["stack", "slice_number", "kind"])["content"]
    placed["images_at_position"] = same.transform("nunique")
    for name in _OF_STACK:
        rows[name] = placed[name].reindex(rows.index)
    for name in ("slice_number", "images_at_position"):
        rows[name] = rows[name].astype("Int64")


def _by_content(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in an order that follows from the pixels."""
    content = rows["content"]
    order = np.lexsort(
        (
            rows["path_rank"],
            content,
            rows["position_mm"],
            content.groupby(rows["series_key"].cat.codes).transform("min"),
            content.groupby(rows["patient_key"].cat.codes).transform("min"),
            ~rows["readable"],
        )
    )
    return rows.iloc[order].reset_index(drop=True)


def _as(schema: DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `schema`, in its order and of its types."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return rows[list(types)].astype(types)
