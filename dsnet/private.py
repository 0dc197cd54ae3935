"""Keyed pseudonyms, and the private folder that alone leads back from them.

A pseudonym is the first 16 hexadecimal digits of HMAC-SHA-256 over the kind and the value, after a
letter that names the kind. Without the key nobody can test a guess of a hospital ID against it.

The private folder holds ``pseudonym.key``, ``withdrawn.csv`` and one folder per cohort, named by
the cohort's id: a random number from its first ingestion. A folder of DICOM files is recognised as
a cohort by the images that it shares with that cohort's map, never by its path (`share_images`).
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dsnet.dicom.scan import native, scan
from dsnet.errors import UserError
from dsnet.files import whole

if TYPE_CHECKING:  # the workflow opens the private folder when it loads, and pandas loads slowly
    import pandas as pd

Kind = Literal["file", "image", "series", "study", "patient", "kernel"]

_LETTER: dict[Kind, str] = {
    "file": "F",
    "image": "I",
    "series": "S",
    "study": "E",
    "patient": "P",
    "kernel": "K",
}
_DIGITS = 16
_KEY_FILE = "pseudonym.key"
_MARKS = ("sop_instance_uid", "pixel_hash")
_AT_A_TIME = 10_000
_SAMPLE = 32
"""Files whose identity is looked up before all headers are read."""

PHANTOM_UID_ROOT: Final = "1.2.826.0.1.3680043.8.498.1."
"""Begins every UID of the built-in phantom, followed by its seed: no real image has it."""


@dataclass(frozen=True)
class PrivateCohort:
    """The private side of one cohort.

    Attributes
    ----------
    cohort_id : str
        16 hexadecimal digits.
    key : bytes
        32 secret bytes; for the built-in phantom they follow from its seed.
    folder : Path
        Holds the map back and the identifying values; mode 700.
    public : bool
        Whether the key is that of the built-in phantom, which everybody can compute.
    """

    cohort_id: str
    key: bytes
    folder: Path
    public: bool = False

    @property
    def map_path(self) -> Path:
        """The table that leads from pseudonyms back to identities; mode 600."""
        return self.folder / "map.parquet"

    @property
    def identifying_path(self) -> Path:
        """Every identifying value that ingestion met, for the self-test; mode 600."""
        return self.folder / "identifying.parquet"

    @property
    def id_match_path(self) -> Path:
        """Patient IDs that only one table has, and what comes near; mode 600."""
        return self.folder / "id_match.csv"

    @property
    def annotation_match_path(self) -> Path:
        """Annotations whose image has its name in another folder, and its path; mode 600."""
        return self.folder / "annotation_match.csv"

    @property
    def withdrawn_path(self) -> Path:
        """The patients who withdrew their consent, by key, in any cohort; mode 600."""
        return self.folder.parent / "withdrawn.csv"

    def withdrawn(self) -> frozenset[str]:
        """Return the keys of the patients who withdrew their consent."""
        if not self.withdrawn_path.exists():
            return frozenset()
        rows = self.withdrawn_path.read_text(encoding="utf-8").splitlines()[1:]
        return frozenset(row.partition(",")[0] for row in rows)

    @property
    def fingerprint(self) -> str:
        """Sixteen digits by which two tables show that they were made with the same key."""
        return hashlib.sha256(b"fingerprint" + self.key).hexdigest()[:_DIGITS]

    def pseudonym(self, kind: Kind, value: str) -> str:
        """Return the pseudonym of `value`, the same for the same key, kind and value.

        Parameters
        ----------
        kind : {"file", "image", "series", "study", "patient", "kernel"}
        value : str
            The identity, stripped of padding; not blank.
        """
        message = f"{kind}\0{value}".encode("utf-8", "surrogateescape")
        digest = hmac.digest(self.key, message, "sha256").hex()
        return f"{_LETTER[kind]}-{digest[:_DIGITS]}"

    def path_pseudonym(self, kind: Kind, path: str) -> str:
        """Return a pseudonym made from a path: of a file, or where an ID or UID is blank.

        Paths repeat from one cohort to the next (CD exports name their files IM00001), so that the
        cohort's id is part of the value.
        """
        return self.pseudonym(kind, f"path\0{self.cohort_id}\0{path}")

    def read_map(self) -> "pd.DataFrame":
        """Return `dsnet.schemas.MAP`.

        Raises
        ------
        UserError
            If it is missing or damaged.
        """
        from dsnet import schemas  # noqa: PLC0415 - pandas and pandera, where a table is asked for

        return schemas.read(schemas.MAP, self.map_path)


def open_private(
    private: Path, cohort_id: str, *, phantom_seed: int | None = None, create: bool = False
) -> PrivateCohort:
    """Return the private side of the cohort `cohort_id`.

    Parameters
    ----------
    private : Path
        The folder of the config key ``private``.
    cohort_id : str
    phantom_seed : int or None
        Of the built-in phantom, whose key is public.
    create : bool
        Whether a missing key or folder may be made; only ingestion does that.

    Raises
    ------
    UserError
        If the key is missing and `create` is false, or the key file is damaged.
    """
    folder = private / cohort_id
    if create:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    if phantom_seed is not None:
        key = hashlib.sha256(f"dsnet phantom {phantom_seed}".encode()).digest()
        return PrivateCohort(cohort_id, key, folder, public=True)
    return PrivateCohort(cohort_id, _read_key(private / _KEY_FILE, create=create), folder)


def phantom_id(seed: int) -> str:
    """Return the cohort id of the built-in phantom, which follows from its seed."""
    return hashlib.sha256(f"dsnet phantom cohort {seed}".encode()).hexdigest()[:_DIGITS]


def is_phantom(seed: int | None, uids: Iterable[str]) -> bool:
    """Return whether all SOP Instance UIDs are those of the built-in phantom of `seed`.

    Parameters
    ----------
    seed : int or None
        What ``cohort.json`` says; that alone proves nothing, since the file may have been copied.
    uids : iterable of str
        Of all files of the cohort whose header can be read; "" for one without, as no file of the
        phantom is.
    """
    if seed is None:
        return False
    root = f"{PHANTOM_UID_ROOT}{seed}."
    return {uid.startswith(root) for uid in uids} == {True}


def new_cohort_id() -> str:
    """Return a random cohort id."""
    return secrets.token_hex(_DIGITS // 2)


def cohort_ids(private: Path) -> list[str]:
    """Return the ids of the cohorts that have a map in the private folder."""
    return sorted(path.parent.name for path in private.glob("*/map.parquet"))


def image_marks(uids: Iterable[str], pixel_hashes: Iterable[str]) -> NDArray[np.int64]:
    """Return what marks each image of a folder, regardless of its path.

    Its SOP Instance UID or, where that is blank or stands in several files, its pixel hash.

    Parameters
    ----------
    uids, pixel_hashes : iterable of str
        Of each file; "" where there is none.

    Returns
    -------
    (marks,) int64 array
        Each once, ascending, by its `hash` in this process: the texts of a million files would take
        half a gigabyte.

    Examples
    --------
    >>> marks = image_marks(["1.2.3", "", "1.9", "1.9"], ["a", "b", "c", "d"])
    >>> marks.tolist() == sorted(map(hash, ["1.2.3", "b", "c", "d"]))
    True
    """
    own, pixels = (np.fromiter(map(hash, one), np.int64) for one in (uids, pixel_hashes))
    _, which, count = np.unique(own, return_inverse=True, return_counts=True)
    is_own = (count[which] == 1) & (own != hash(""))
    values = np.where(is_own, own, pixels)
    marks: NDArray[np.int64] = np.unique(values[values != hash("")])
    return marks


def share_images(one: NDArray[np.int64], other: NDArray[np.int64], *, grown: bool) -> bool:
    """Return whether two sets of `image_marks` are of one cohort.

    Parameters
    ----------
    one, other : (marks,) int64 array
    grown : bool
        True: most images of the smaller set are in the other one, so that one of them may have
        grown. False: most images of each set are in the other one.
    """
    shared = len(np.intersect1d(one, other, assume_unique=True))
    sizes = len(one), len(other)
    return 2 * shared > (min(sizes) if grown else max(sizes))


def mapped_marks(private: Path, cohort_id: str) -> NDArray[np.int64]:
    """Return the `image_marks` of the map of a cohort."""
    return image_marks(*map(_texts, _map_columns(private, cohort_id, *_MARKS)))


def _map_columns(private: Path, cohort_id: str, *names: str) -> list[pa.ChunkedArray]:
    table = pq.read_table(private / cohort_id / "map.parquet", columns=list(names))
    return [table[name] for name in names]


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the cells of a column without a list of all."""
    for start in range(0, len(column), _AT_A_TIME):
        yield from column.slice(start, _AT_A_TIME).to_pylist()


def recognised(dicom: Path, private: Path, cohort_id: str) -> bool:
    """Return whether the folder `dicom` holds the images of a cohort that was ingested.

    A sample of files is looked up where the map has them; the headers of all files are read only
    if these do not show it, as after a change of folders.

    Parameters
    ----------
    dicom : Path
        The cohort's ``dicom/``.
    private : Path
        The folder of the config key ``private``.
    cohort_id : str
        Of a cohort with a map.
    """
    paths, *columns = _map_columns(private, cohort_id, "relative_path", *_MARKS)
    marks = image_marks(*map(_texts, columns))
    marked = [np.isin(np.fromiter(map(hash, _texts(one)), np.int64), marks) for one in columns]
    (rows,) = np.nonzero(marked[0] | marked[1])
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    same = 0
    for row in sample:
        path = dicom / native(paths[row].as_py())
        own = {
            one[row].as_py() for one, is_mark in zip(columns, marked, strict=True) if is_mark[row]
        }
        same += path.is_file() and not own.isdisjoint(_identity(str(path)))
    if 2 * same > len(sample):
        return True
    facts = [_identity(file.path) for file in scan(dicom)] if dicom.is_dir() else []
    here = image_marks(*zip(*facts, strict=True)) if facts else image_marks([], [])
    return share_images(here, marks, grown=True)


def _identity(path: str) -> tuple[str, str]:
    """Return SOP Instance UID and pixel hash of a file, "" where it has none."""
    # pydicom loads slowly, and most runs of the workflow need no look at a file.
    from dsnet.dicom import evidence, reader  # noqa: PLC0415

    facts = reader.read(path, evidence.Thresholds(metal_hu=0, cement_hu=0))  # of evidence not used
    uid = facts.header.sop_instance_uid if facts.header else ""
    return uid, facts.evidence.pixel_hash if facts.evidence else ""


def _read_key(path: Path, *, create: bool) -> bytes:
    if not path.exists():
        if not create:
            raise UserError(
                str(path),
                expected="the key that made the pseudonyms",
                came="no file",
                remedy="bring the key back from its backup, or delete the results and ingest again",
            )
        with whole(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_hex(32) + "\n", encoding="utf-8")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(
            str(path),
            expected="64 hexadecimal digits",
            came=f"{len(text)} characters that are not such a key",
            remedy="bring the key back from its backup, or delete the results and ingest again",
        )
    return key
