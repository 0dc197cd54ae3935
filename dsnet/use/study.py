"""A study as the PACS gives it: its files, what they say of themselves, and names without identity.

Files are read as ingestion reads a cohort's, and become the same tables. Keys are made with a
secret that is forgotten afterwards; what people see are names, ``patient-1`` and so on, that
follow from the order of the pixels.
"""

import re
import secrets
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.config.cohort import Ingest
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.reader import Facts, Limits
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.errors import UserError
from dsnet.ingest.cache import facts_table
from dsnet.ingest.index import tables
from dsnet.ingest.step import progress_bar
from dsnet.ingest.workers import read_all
from dsnet.private import PrivateCohort

_MOST_UNPACKED_BYTES = 1 << 36
"""Of one zip file; a study of some thousand slices has a hundredth of that."""

_NAME = re.compile(r"\w[\w.-]{0,39}")


@dataclass(frozen=True)
class Study:
    """The files of one or more patients; made by `read_study`.

    Attributes
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`, numbered from 0, and what people see of each file: ``patient``,
        ``series`` (``series-1`` and on, within the patient), ``slice`` (Int64, from 1 along the
        slice's normal), ``file`` (Int64, from 1 in the order of the paths) and ``z_mm`` (of the
        image's centre, to the head; NaN if unknown).
    identities : DataFrame
        `dsnet.schemas.MAP`, in the same order. Identifying: for reading files and DICOM objects.
    paths : dict of str to str
        By file key.
    """

    index: pd.DataFrame
    identities: pd.DataFrame
    paths: dict[str, str]

    def __repr__(self) -> str:
        patients, series = (
            len(set(self.index[key]) - {""}) for key in ("patient_key", "series_key")
        )
        return f"Study({patients} patients, {series} series, {len(self.index)} files)"

    def plane(self, row: int) -> NDArray[np.float64]:
        """Return how pixels of a file become patient coordinates.

        Parameters
        ----------
        row : int
            Of `index`.

        Returns
        -------
        float64 (3, 3)
            From (x, y, 1), edges in pixels as in `dsnet.schemas.BOX`, to mm in LPS, as the standard
            defines ImagePositionPatient (0020,0032): x to the left, y to the back, z to the head.
            NaN where the file does not say.
        """
        numbers = [float(text) for text in str(self.identities.loc[row, "plane"]).split()]
        if len(numbers) != 9:
            return np.full((3, 3), np.nan)
        position, along, down = np.array(numbers).reshape(3, 3)
        steps = self.index.loc[row, ["column_spacing_mm", "row_spacing_mm"]].to_numpy(float)
        to_left, to_back = along * steps[0], down * steps[1]
        # ImagePositionPatient is the centre of the first pixel, which lies at edge 0.5.
        return np.column_stack([to_left, to_back, position - (to_left + to_back) / 2])


def read_study(
    *paths: Path | str, ingest: Ingest | None = None, patient_name: str | None = None
) -> Study:
    """Return the study that lies in folders or zip files.

    No annotation, no DXA and no cohort folder is needed. Nothing is written.

    Parameters
    ----------
    *paths : Path or str
        Folders, or zip files, with DICOM files in them, of any number of patients and series.
    ingest : Ingest, optional
        Thresholds of metal and cement, and limits of reading.
    patient_name : str, optional
        What outputs call the patient, in place of ``patient-1``; of several, ``NAME-1`` and on.

    Raises
    ------
    UserError
        If there is no file, or a zip file cannot be unpacked.

    Examples
    --------
    >>> import dsnet
    >>> dsnet.read_study("exports/CT.zip")
    Study(1 patients, 1 series, 3 files)
    """
    if patient_name and not _NAME.fullmatch(patient_name):
        raise UserError(
            "--name",
            expected="letters, digits, dots, hyphens and underscores, at most 40",
            came="something else",
            remedy="choose another name: it becomes part of file names",
        )
    with ExitStack() as temporary:
        files = _scanned([_folder(Path(path), temporary) for path in paths])
        if not files:
            raise UserError(
                "study",
                expected="DICOM files in a folder or zip file",
                came="none",
                remedy="name a folder or zip file that holds some",
            )
        facts = facts_table(_read(files, ingest or Ingest()))
        forgotten = PrivateCohort(
            "0" * 16, secrets.token_bytes(32), Path(tempfile.gettempdir(), "-")
        )
        index, identities = tables(facts, forgotten)
        identities = identities.set_index("file_key").loc[index["file_key"]].reset_index()
        path_of = {file.relative: file.path for file in files}
        paths_by_key = {
            key: path_of[relative]
            for key, relative in zip(
                identities["file_key"], identities["relative_path"], strict=True
            )
        }
        names = _named(Study(index, identities, paths_by_key), patient_name)
        study = Study(names, identities, paths_by_key)
        # What was unpacked goes when the study does, or when Python ends.
        weakref.finalize(study, temporary.pop_all().close)
        return study


def _read(files: Sequence[ScannedFile], params: Ingest) -> list[tuple[str, Facts]]:
    """Return the facts of the files by relative path, in the order of the paths."""
    facts = []
    limits = Limits(params.max_seconds, params.max_memory_mb << 20, params.max_decoded_mb << 20)
    thresholds = Thresholds(params.metal_hu, params.cement_hu)
    with progress_bar() as progress:
        task = progress.add_task("reading files", total=len(files))
        for chunk in read_all(files, thresholds, limits, params.processes):
            facts += [(file.relative, one) for file, one in chunk]
            progress.advance(task, len(chunk))
    return sorted(facts, key=lambda one: one[0])


def _folder(path: Path, temporary: ExitStack) -> Path:
    """Return a study's folder; a zip file is unpacked into one that `temporary` removes."""
    if path.is_dir():
        return path
    if not zipfile.is_zipfile(path):
        raise UserError(
            "study",
            expected="a folder or a zip file",
            came="something else" if path.exists() else "no such file",
            remedy="name a folder or zip file that holds DICOM files",
            private=str(path),
        )
    folder = temporary.enter_context(tempfile.TemporaryDirectory(prefix="dsnet-study-"))
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MOST_UNPACKED_BYTES:
                raise _not_unpacked("one of more than 64 GiB", path)
            archive.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _not_unpacked("one that is damaged or packed in an unknown way", path) from error
    except RuntimeError as error:  # zipfile's word for a password
        raise _not_unpacked("one with a password", path) from error
    return Path(folder)


def _not_unpacked(came: str, path: Path) -> UserError:
    return UserError(
        "study",
        expected="a zip file that can be unpacked",
        came=came,
        remedy="unpack it yourself, and name the folder",
        private=str(path),
    )


def _scanned(folders: Sequence[Path]) -> list[ScannedFile]:
    """Return the files of all folders; with several folders, each has its number in the paths."""
    if len(folders) == 1:
        return scan(folders[0])
    return [
        file._replace(relative=f"{number}/{file.relative}")
        for number, folder in enumerate(folders, start=1)
        for file in scan(folder)
    ]


def _named(study: Study, patient_name: str | None) -> pd.DataFrame:
    """Return the index with names; those of files without a readable header are ""."""
    index = study.index
    of_patient, patients = pd.factorize(index["patient_key"].mask(index["patient_key"] == ""))
    single = patient_name if patient_name and len(patients) == 1 else None
    prefix = patient_name or "patient"
    series = (
        index["series_key"]
        .groupby(index["patient_key"])
        .transform(lambda keys: pd.factorize(keys)[0] + 1)
    )
    return index.assign(
        patient=[single or f"{prefix}-{n + 1}" if n >= 0 else "" for n in of_patient],
        series=np.where(of_patient >= 0, "series-" + series.astype(str), ""),
        slice=index["slice_number"],
        file=index["path_rank"] + 1,
        z_mm=[_centre_z(study, row) for row in index.index],
    )


def _centre_z(study: Study, row: int) -> float:
    size = study.index.loc[row, ["columns", "rows"]].to_numpy(float, na_value=np.nan)
    centre_mm = study.plane(row) @ np.array([*(size / 2), 1.0])
    return round(float(centre_mm[2]), 3)
