"""The CT series of a cohort in space, and which of them a mask belongs to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from dsnet.cohort.annotations.annotation import Source
from dsnet.cohort.annotations.mask import Body, Floats


@dataclass(frozen=True)
class Slices:
    """Slices in space.

    Attributes
    ----------
    file_key, series_key : (n,) array of str
    affine : (n, 4, 4) float64
        From column, row and mm along the normal to mm (LPS).
    size : (n, 2) int64
        Columns and rows.
    """

    file_key: np.ndarray
    series_key: np.ndarray
    affine: Floats
    size: np.ndarray

    @classmethod
    def of(cls, index: pd.DataFrame, identities: pd.DataFrame) -> "Slices":
        """Return the CT slices of `dsnet.schemas.INDEX` whose place the headers tell."""
        told = index["geometry_fault"].eq("") & index["modality"].eq("CT")
        told &= index["image_kind"].ne("localizer") & index["rows"].notna()
        files = index[told].merge(identities[["file_key", "plane"]], on="file_key")
        files = files[files["plane"] != ""]
        plane = np.array([text.split() for text in files["plane"]], dtype=float).reshape(-1, 9)
        origin, along_row, along_column = plane[:, :3], _unit(plane[:, 3:6]), _unit(plane[:, 6:])
        affine = np.zeros((len(files), 4, 4))
        # PixelSpacing gives the step between rows first: it is the one along a column.
        affine[:, :3, 0] = along_row * files[["column_spacing_mm"]].to_numpy(float)
        affine[:, :3, 1] = along_column * files[["row_spacing_mm"]].to_numpy(float)
        affine[:, :3, 2] = np.cross(along_row, along_column)
        affine[:, :3, 3] = origin
        affine[:, 3, 3] = 1
        size = files[["columns", "rows"]].to_numpy(np.int64)
        file_key, series_key = (files[name].to_numpy(object) for name in ("file_key", "series_key"))
        return cls(file_key, series_key, affine, size)

    def corners(self) -> Floats:
        """Return the corners of each slice's outermost pixels in mm: float64 (n, 3, 4)."""
        column, row = self.size[:, 0] - 0.5, self.size[:, 1] - 0.5
        low, zero, one = np.full(len(row), -0.5), np.zeros(len(row)), np.ones(len(row))
        ends = [(low, low), (column, low), (low, row), (column, row)]
        index = np.stack([np.stack([x, y, zero, one]) for x, y in ends], axis=-1)
        return np.asarray(self.affine[:, :3] @ index.transpose(1, 0, 2))


@dataclass(frozen=True)
class Series:
    """The cohort's CT series.

    Attributes
    ----------
    slices : Slices
    rows : dict of str to (n,) int64 array
        Which slices, by series key.
    hull : dict of str to (2, 3) float64
        Lowest and highest place in mm (LPS), by series key.
    named : dict of str to set of str
        Series keys by SeriesInstanceUID, and by folder below ``dicom/`` and the ends of its path.
    by_image : dict of str to str
        Series key by SOPInstanceUID.
    """

    slices: Slices
    rows: dict[str, np.ndarray]
    hull: dict[str, Floats]
    named: dict[str, set[str]] = field(repr=False)
    by_image: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, index: pd.DataFrame, identities: pd.DataFrame) -> "Series":
        """Return the series of `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`."""
        slices = Slices.of(index, identities)
        groups = pd.Series(np.arange(len(slices.file_key))).groupby(slices.series_key)
        rows = {str(key): np.asarray(at) for key, at in groups.indices.items()}
        corners = slices.corners()
        hull = {
            key: np.stack([corners[at].min(axis=(0, 2)), corners[at].max(axis=(0, 2))])
            for key, at in rows.items()
        }
        series_of = dict(zip(slices.file_key, slices.series_key, strict=True))
        private = identities[identities["file_key"].isin(series_of)]
        keys = [series_of[file_key] for file_key in private["file_key"]]
        named: dict[str, set[str]] = {}
        for uid, key in set(zip(private["series_instance_uid"], keys, strict=True)):
            named.setdefault(uid, set()).add(key)
        folders = (path.rpartition("/")[0] for path in private["relative_path"])
        for folder, key in set(zip(folders, keys, strict=True)):
            for end in _ends(folder):
                named.setdefault(end, set()).add(key)
        named.pop("", None)
        by_image = dict(zip(private["sop_instance_uid"], keys, strict=True))
        return cls(slices, rows, hull, named, by_image)

    def holding(
        self, source: Source, bodies: Sequence[Body], references: Iterable[str] = ()
    ) -> str:
        """Return the key of the one series that a mask belongs to.

        Of the series that its references mean, else of those that its path means (`_names`), else
        of all: the one whose volume it overlaps, if there is but one.

        Parameters
        ----------
        source : Source
        bodies : sequence of Body
        references : iterable of str
            SeriesInstanceUIDs and SOPInstanceUIDs that the mask's header names.

        Raises
        ------
        UnmatchedError
            If there is none, or more than one, or no body.
        """
        if not bodies:
            raise source.unmatched(
                "unknown_level",
                expected="a mask with a label of a vertebral body",
                came="none",
                remedy="correct annotations.mask_labels or level_names, or move it away",
            )
        referenced = set(references)
        meant = [self.named.get(one) or {self.by_image.get(one, "")} for one in referenced]
        series = set().union(*meant) - {""}
        if not series:
            names = (self.named[name] for name in _names(source.relative) if name in self.named)
            series = next(names, set() if referenced else set(self.rows))
        places = np.concatenate([body.corners() for body in bodies], axis=1)
        low, high = places.min(axis=1), places.max(axis=1)
        fitting = sorted(
            key
            for key in series
            if (low <= self.hull[key][1]).all() and (high >= self.hull[key][0]).all()
        )
        if len(fitting) == 1:
            return fitting[0]
        raise source.unmatched(
            "ambiguous" if fitting else "no_image",
            expected="a mask that lies in one CT series",
            came=f"one that lies in {len(fitting)} of {len(series)} that it may belong to",
            remedy="name it, or its folder, after the SeriesInstanceUID or the series' folder in "
            "dicom/",
        )


def _unit(vectors: Floats) -> Floats:
    """Return vectors of length 1: some writers keep two decimals."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _ends(folder: str) -> Iterator[str]:
    """Yield, of each folder on a path, its own path and the ends of that."""
    parts = folder.split("/")
    for stop in range(1, len(parts) + 1):
        for start in range(stop):
            yield "/".join(parts[start:stop])


def _names(relative: str) -> Iterator[str]:
    """Yield what a mask's path may call its series, the most specific first.

    The stem, or its beginning before a ``_`` or ``-``, with the folders above it and without; then
    the folders alone, the innermost first.
    """
    *folders, name = relative.split("/")
    lower = name.lower()
    for suffix in (".nii.gz", ".nii", ".dcm"):
        if lower.endswith(suffix):
            name = name[: -len(suffix)]
            break
    stops = [stop for stop, letter in enumerate(name) if letter in "_-"]
    for stem in [name, *(name[:stop] for stop in reversed(stops))]:
        for start in range(len(folders) + 1):
            yield "/".join([*folders[start:], stem])
    for stop in range(len(folders), 0, -1):
        for start in range(stop):
            yield "/".join(folders[start:stop])
