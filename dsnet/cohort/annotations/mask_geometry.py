"""Masks and CT series in space: which series a mask belongs to, and its boxes on the slices.

Positions are in the patient's coordinates of DICOM (PS3.3 C.7.6.2.1.1): x to the left, y to the
back, z to the head (LPS). An affine is a 4 x 4 matrix from the index of a voxel's centre to its
position in mm.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dsnet.cohort.annotations import Edges, Source, UnmatchedError

Floats = NDArray[np.float64]
Voxels = NDArray[np.bool_]

_TIE: Final = 1e-3
"""In voxels: a pixel within it of the border between two takes the upper one. More than float32
affines and decimal strings err by, so that the same mask in two formats gives the same boxes."""

_CORNERS: Final = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8)
_WORD: Final = re.compile(r"[^\W_]+")
_LEVEL_OR_LABEL: Final = re.compile(r"label[-_]?\d+|(?<![^\W_])[ctls]\d{1,2}(?![^\W_])")
_WORDS: Final = (
    "annotation annotations bodies body bone bones ct data dicom export final label labels lumbar "
    "mask masks msk multilabel nifti nii output predictions result results roi seg segmentation "
    "segmentations segs spine sub subreg total totalsegmentator tptbox verse vert vertebra "
    "vertebrae vertebral"
)
_MASK_WORDS: Final = frozenset(_WORDS.split())
"""Words in a mask's path that name neither series nor patient."""

_EIGHT_NEIGHBOURS: Final = np.ones((3, 3), dtype=int)
"""Pixels that touch at a corner belong together."""


@dataclass(frozen=True)
class Body:
    """The voxels of one label, cut out of their volume.

    Attributes
    ----------
    row : int
        The label's number.
    label : str
        The level, or its name as the file spells it.
    voxels : (i, j, k) bool
    affine : (4, 4) float64
        From the index of a voxel's centre to mm (LPS).
    image : str
        SOPInstanceUID of the only image that it counts on; "" where it counts on all.
    """

    row: int
    label: str
    voxels: Voxels
    affine: Floats
    image: str = ""

    @classmethod
    def of(cls, row: int, label: str, voxels: Voxels, affine: Floats) -> "Body":
        """Return the body with ascending axes, so that storage order does not decide a tie."""
        affine = affine.copy()
        for axis in range(3):
            step = affine[:3, axis]
            if step[np.abs(step).argmax()] < 0:
                voxels = np.flip(voxels, axis)
                affine[:3, 3] += step * (voxels.shape[axis] - 1)
                affine[:3, axis] = -step
        return cls(row, label, voxels, affine)

    def corners(self) -> Floats:
        """Return the corners of its outermost voxels in mm: float64 (3, 8)."""
        index = _CORNERS * np.array(self.voxels.shape)[:, None] - 0.5
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3:])


@dataclass(frozen=True)
class Cut:
    """Where a slice cuts a body.

    Attributes
    ----------
    edges : tuple of 4 floats
        As `dsnet.schemas.BOX`, in whole pixels.
    area_mm2 : float
    sliver : bool
        Whether no connected component reaches the least area.
    """

    edges: Edges
    area_mm2: float
    sliver: bool


def bodies(values: NDArray[np.integer], affine: Floats, levels: dict[int, str]) -> list[Body]:
    """Return the labels of a volume that `levels` names, in the order of their numbers.

    Parameters
    ----------
    values : (i, j, k) integer
    affine : (4, 4) float64
        From the index of a voxel's centre to mm (LPS).
    levels : dict of int to str
        Level by label; other labels are left out.
    """
    extents = ndimage.find_objects(values, max_label=max(levels, default=0))
    cut_out = []
    for label, extent in enumerate(extents, start=1):
        if extent is None or label not in levels:
            continue
        corner = affine.copy()
        corner[:3, 3] += affine[:3, :3] @ np.array([one.start for one in extent], dtype=float)
        cut_out.append(Body.of(label, levels[label], values[extent] == label, corner))
    return cut_out


def cut(body: Body, affine: Floats, size: tuple[int, int], min_area_mm2: float) -> Cut | None:
    """Return the box of a body on a slice; None where the slice misses it.

    Each pixel's centre takes the voxel that it lies in (nearest neighbour), so that a slice meets
    a mask within half a voxel of the centres of its outermost ones. Connected components smaller
    than `min_area_mm2` do not count, unless all are: then the cut is a sliver.

    Parameters
    ----------
    body : Body
    affine : (4, 4) float64
        Of the slice: from column, row and mm along the normal to mm (LPS).
    size : tuple of 2 int
        Columns and rows.
    min_area_mm2 : float
    """
    section = _section(body, affine, size)
    if section is None:
        return None
    pixels, left, top = section
    pixel_mm2 = float(np.linalg.norm(affine[:3, 0]) * np.linalg.norm(affine[:3, 1]))
    components, _ = ndimage.label(pixels, _EIGHT_NEIGHBOURS)
    areas = np.bincount(components.ravel()) * pixel_mm2
    areas[0] = -1  # the background, even where the least area is 0
    sliver = not (areas >= min_area_mm2).any()
    kept = pixels if sliver else np.isin(components, np.flatnonzero(areas >= min_area_mm2))
    columns, rows = np.flatnonzero(kept.any(axis=0)), np.flatnonzero(kept.any(axis=1))
    edges = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    x_min, y_min, x_max, y_max = (float(edge) for edge in edges)
    area_mm2 = float(kept.sum() * pixel_mm2)
    return Cut((x_min, y_min, x_max, y_max), area_mm2, sliver)


def _section(body: Body, affine: Floats, size: tuple[int, int]) -> tuple[Voxels, int, int] | None:
    """Return the body's pixels in a window of the slice, and the window's first column and row."""
    corners = np.linalg.solve(affine, np.vstack([body.corners(), np.ones(8)]))[:3]
    low, high = corners.min(axis=1), corners.max(axis=1)
    if low[2] > _TIE or high[2] < -_TIE:
        return None
    left, top = (max(int(np.floor(low[axis])), 0) for axis in range(2))
    right, bottom = (min(int(np.ceil(high[axis])) + 1, size[axis]) for axis in range(2))
    if left >= right or top >= bottom:
        return None
    to_voxel = np.linalg.solve(body.affine, affine)
    columns, rows = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
    inside = np.ones((bottom - top, right - left), dtype=bool)
    index = []
    for axis, length in enumerate(body.voxels.shape):
        by_column, by_row, _, start = to_voxel[axis]
        nearest = np.floor(by_column * columns + by_row * rows + start + 0.5 + _TIE).astype(int)
        inside &= (nearest >= 0) & (nearest < length)
        index.append(np.clip(nearest, 0, length - 1))
    pixels = inside & body.voxels[index[0], index[1], index[2]]
    return (pixels, left, top) if pixels.any() else None


@dataclass(frozen=True)
class Slices:
    """CT slices in space.

    Attributes
    ----------
    file_key, series : (n,) array of str
        Of its series: patient and series key, since two patients may have one SeriesInstanceUID.
    affine : (n, 4, 4) float64
        From column, row and mm along the normal to mm (LPS).
    size : (n, 2) int64
        Columns and rows.
    """

    file_key: np.ndarray
    series: np.ndarray
    affine: Floats
    size: np.ndarray

    @classmethod
    def of(cls, index: pd.DataFrame, identities: pd.DataFrame) -> "Slices":
        """Return the CT slices of `dsnet.schemas.INDEX` whose headers give their position."""
        usable = index["geometry_fault"].eq("") & index["modality"].eq("CT")
        usable &= index["image_kind"].ne("localizer") & index["rows"].notna()
        files = index[usable].merge(identities[["file_key", "patient_id", "plane"]], on="file_key")
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
        series = files["patient_id"] + "/" + files["series_key"]
        return cls(files["file_key"].to_numpy(object), series.to_numpy(object), affine, size)

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
        Which slices, by series (`Slices`).
    hull : dict of str to (2, 3) float64
        Lowest and highest position in mm (LPS), by series.
    named : dict of str to list of str
        Series by SeriesInstanceUID and PatientID, and by folder below ``dicom/`` and each end of
        its path.
    of_patient : dict of str to list of str
        Series by PatientID.
    by_image : dict of str to dict of int to str
        Slices, and the series of each, by SOPInstanceUID.
    """

    slices: Slices
    rows: dict[str, np.ndarray]
    hull: dict[str, Floats]
    named: dict[str, list[str]] = field(repr=False)
    of_patient: dict[str, list[str]] = field(repr=False)
    by_image: dict[str, dict[int, str]] = field(repr=False)

    @classmethod
    def of(cls, index: pd.DataFrame, identities: pd.DataFrame) -> "Series":
        """Return the series of `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`."""
        slices = Slices.of(index, identities)
        groups = pd.Series(np.arange(len(slices.file_key))).groupby(slices.series)
        rows = {str(key): np.asarray(at) for key, at in groups.indices.items()}
        corners = slices.corners()
        hull = {
            key: np.stack([corners[at].min(axis=(0, 2)), corners[at].max(axis=(0, 2))])
            for key, at in rows.items()
        }
        number_of = {file_key: number for number, file_key in enumerate(slices.file_key)}
        private = identities[identities["file_key"].isin(number_of)]
        numbers = [number_of[file_key] for file_key in private["file_key"]]
        series = [str(slices.series[number]) for number in numbers]
        of_patient = grouped(zip(private["patient_id"], series, strict=True))
        folders = (path.rpartition("/")[0] for path in private["relative_path"])
        folder_of = set(zip(folders, series, strict=True))
        ends = ((end, key) for folder, key in folder_of for end in _ends(folder))
        uids = zip(private["series_instance_uid"], series, strict=True)
        named = grouped(chain(uids, ends, zip(private["patient_id"], series, strict=True)))
        by_image: dict[str, dict[int, str]] = {}
        for uid, number, key in zip(private["sop_instance_uid"], numbers, series, strict=True):
            by_image.setdefault(uid, {})[number] = key
        by_image.pop("", None)
        return cls(slices, rows, hull, named, of_patient, by_image)

    def holding(
        self,
        source: Source,
        bodies: Sequence[Body],
        references: Iterable[str] = (),
        patient_id: str = "",
    ) -> str:
        """Return the one series that a mask belongs to.

        Of the series that its references mean, else of those that its path means (`_names`), else,
        if its path holds no name at all, of all: the one whose volume it overlaps, if there is but
        one. It must be of the patient whom the mask's header names.

        Parameters
        ----------
        source : Source
        bodies : sequence of Body
        references : iterable of str
            SeriesInstanceUIDs and SOPInstanceUIDs that the mask's header names.
        patient_id : str
            Of the mask's header; "" where it has none.

        Raises
        ------
        UnmatchedError
            If there is none, or more than one, or no body.
        """
        if not bodies:
            raise UnmatchedError(
                "unknown_level",
                source.error(
                    expected="a mask with a label of a vertebral body",
                    came="none",
                    remedy="correct annotations.mask_labels or level_names, or move it away",
                ),
            )
        series = self._meant(source, set(references))
        if patient_id:
            series = series & set(self.of_patient.get(patient_id, ()))
        if not series and self.rows:
            raise UnmatchedError(
                "no_image",
                source.error(
                    expected="a mask of a patient and series in dicom/",
                    came="one that names others",
                    remedy="bring its images, or name it, or its folder, after the "
                    "SeriesInstanceUID, the PatientID or the series' folder in dicom/",
                ),
            )
        corners = np.concatenate([body.corners() for body in bodies], axis=1)
        low, high = corners.min(axis=1), corners.max(axis=1)
        fitting = sorted(
            key
            for key in series
            if (low <= self.hull[key][1]).all() and (high >= self.hull[key][0]).all()
        )
        if len(fitting) == 1:
            return fitting[0]
        raise UnmatchedError(
            "ambiguous" if fitting else "no_image",
            source.error(
                expected="a mask that lies in one CT series",
                came=f"one that lies in {len(fitting)} of {len(series)} that it may belong to",
                remedy="name it, or its folder, after the SeriesInstanceUID, the PatientID or the "
                "series' folder in dicom/",
            ),
        )

    def _meant(self, source: Source, references: set[str]) -> set[str]:
        """Return the series that a mask's references or its path may mean."""
        if references:
            meant = (
                self.named.get(one) or self.by_image.get(one, {}).values() for one in references
            )
            return set().union(*meant)
        names = (set(self.named[name]) for name in _names(source.relative) if name in self.named)
        return next(names, set() if _is_named(source.relative) else set(self.rows))


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the keys of each name that is not blank, each once and in their order."""
    groups: dict[str, dict[str, None]] = {}
    for name, key in pairs:
        if name:
            groups.setdefault(name, {})[key] = None
    return {name: list(keys) for name, keys in groups.items()}


def _unit(vectors: Floats) -> Floats:
    """Return vectors of length 1: some writers keep two decimals."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _ends(folder: str) -> Iterator[str]:
    """Yield, for each folder on a path, its own path and each end of that."""
    names = folder.split("/")
    for stop in range(1, len(names) + 1):
        for start in range(stop):
            yield "/".join(names[start:stop])


def _names(relative: str) -> Iterator[str]:
    """Yield the names that a mask's path may give its series, the most specific first.

    The stem, or its beginning before a ``_`` or ``-``, with and without the folders above it; then
    the folders alone, the innermost first.
    """
    *folders, name = without_suffix(relative).split("/")
    stops = [stop for stop, letter in enumerate(name) if letter in "_-"]
    for stem in [name, *(name[:stop] for stop in reversed(stops))]:
        for start in range(len(folders) + 1):
            yield "/".join([*folders[start:], stem])
    for stop in range(len(folders), 0, -1):
        for start in range(stop):
            yield "/".join(folders[start:stop])


def _is_named(relative: str) -> bool:
    """Return whether a mask's path holds more than words for masks and levels.

    Examples
    --------
    >>> _is_named("masks/vertebrae_L1.nii.gz"), _is_named("P2.nii.gz")
    (False, True)
    """
    plain = _LEVEL_OR_LABEL.sub(" ", without_suffix(relative).lower())
    return any(word.rstrip("0123456789") not in _MASK_WORDS for word in _WORD.findall(plain))


def without_suffix(relative: str) -> str:
    """Return a mask's path without the suffix of its format."""
    suffixes = (".nii.gz", ".nii", ".dcm")
    length = next((len(s) for s in suffixes if relative.lower().endswith(s)), 0)
    return relative[: len(relative) - length]
