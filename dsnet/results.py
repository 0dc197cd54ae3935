"""Whose results these are, and the one reader of what the steps wrote.

A results folder belongs to one cohort: ``cohort/source.json`` names it. `Results` reads every table
and JSON file below it and checks that they belong together; it needs no private folder and no raw
data, so that it works on a pulled clone and on a cluster's node.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsnet.errors import UserError
from dsnet.files import read_json, sha256
from dsnet.private import (
    PrivateCohort,
    cohort_ids,
    is_phantom,
    mapped_marks,
    new_cohort_id,
    open_private,
    phantom_id,
    recognised,
    share_images,
)

if TYPE_CHECKING:  # the workflow reads source.json when it loads, and pandas loads slowly
    import pandas as pd
    import pandera.pandas as pa

Json = dict[str, Any]

SOURCE = Path("cohort", "source.json")


@dataclass(frozen=True)
class Source:
    """What ``source.json`` says: whose results these are.

    Attributes
    ----------
    cohort_id : str
        Names the cohort's folder below the private folder.
    key : str
        Fingerprint of the key that made the pseudonyms.
    name, note : str
        Of the cohort, public by intent.
    synthetic : bool
    phantom_seed : int or None
        Of the built-in phantom.
    files, bytes, readable, decoded : int
        How many files there are below ``dicom/``.
    unexpected : int
        Files with content that the program did not foresee.
    not_searched : dict of str to int
        By kind, files beside ``dicom/`` whose identifying values are unknown.
    index_sha256 : str
        Of ``index.parquet``.
    """

    cohort_id: str
    key: str
    name: str
    note: str
    synthetic: bool
    phantom_seed: int | None
    files: int
    bytes: int
    readable: int
    decoded: int
    unexpected: int
    not_searched: dict[str, int]
    index_sha256: str

    def to_json(self) -> Json:
        """Return the attributes as JSON values."""
        return asdict(self)


class Results:
    """What the steps wrote into one results folder.

    Tables are read once, checked against their schema, and checked to belong together.

    Parameters
    ----------
    folder : Path
        The config key ``results``.

    Raises
    ------
    UserError
        On access: if a file is missing, is not what its step writes, or is of another run than
        the files that it stands beside.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cohort = folder / "cohort"

    @cached_property
    def source(self) -> Source:
        """Whose results these are."""
        return read_source(self.folder)

    def private(self, private: Path, cohort: Path | None = None) -> PrivateCohort:
        """Open the private side of the cohort that these results are of.

        Parameters
        ----------
        private : Path
            The folder of the config key ``private``.
        cohort : Path, optional
            The cohort folder, where its files are to be read.

        Raises
        ------
        UserError
            If the map or the key is missing, the key is not the one that made these results, or
            `cohort` holds the images of another cohort.
        """
        source = self.source
        known = open_private(private, source.cohort_id, phantom_seed=source.phantom_seed)
        if not known.map_path.exists():
            raise UserError(
                str(known.map_path),
                expected=f"the map of the cohort that {self.folder} is of",
                came="no file",
                remedy="bring the private folder back from its backup, or delete these results "
                "and ingest again",
            )
        if known.fingerprint != source.key:
            raise UserError(
                str(self.folder / SOURCE),
                expected="results made with the key that lies in the private folder",
                came="results made with another key",
                remedy="bring the right key back from its backup, or delete these results",
            )
        if cohort is not None and not recognised(cohort / "dicom", private, source.cohort_id):
            raise _another_cohort(self.folder)
        return known

    @cached_property
    def index(self) -> "pd.DataFrame":
        """`dsnet.schemas.INDEX`."""
        index = self._table("INDEX")
        if sha256(self.cohort / "index.parquet") != self.source.index_sha256:
            raise _apart("index.parquet", "source.json")
        return index

    @cached_property
    def annotations(self) -> "pd.DataFrame":
        """`dsnet.schemas.ANNOTATIONS`."""
        table = self._table("ANNOTATIONS")
        if not set(table["file_key"]) - {""} <= set(self.index["file_key"]):
            raise _apart("annotations.csv", "index.parquet")
        return table

    @cached_property
    def exams(self) -> "pd.DataFrame":
        """`dsnet.schemas.EXAMS`."""
        return self._table("EXAMS")

    @cached_property
    def patients(self) -> "pd.DataFrame":
        """`dsnet.schemas.PATIENTS`."""
        return self._table("PATIENTS")

    @cached_property
    def decisions(self) -> "pd.DataFrame":
        """`dsnet.schemas.DECISIONS`."""
        return self._table("DECISIONS")

    @cached_property
    def ledger(self) -> "pd.DataFrame":
        """`dsnet.schemas.LEDGER`: one row per file, none ever dropped."""
        table = self._table("LEDGER")
        if table["file_key"].tolist() != self.index["file_key"].tolist():
            raise _apart("ledger.csv", "index.parquet")
        return table

    @cached_property
    def exclusions(self) -> "pd.DataFrame":
        """`dsnet.schemas.EXCLUSIONS`: one row per patient."""
        table = self._table("EXCLUSIONS")
        if set(table["patient_key"]) != set(self.ledger["patient_key"]) - {""}:
            raise _apart("exclusions.csv", "ledger.csv")
        return table

    @cached_property
    def flow(self) -> Json:
        """How many files, images and patients are left after each criterion."""
        flow = read_json(self.cohort / "flow.json", "cohort", "found", "steps", "included")
        if flow["found"]["files"] != len(self.ledger):
            raise _apart("flow.json", "ledger.csv")
        return flow

    @property
    def nothing_included(self) -> bool:
        """Whether every file was excluded: then there are no labels, no split and no slices."""
        return bool(self.flow["included"]["files"] == 0)

    @cached_property
    def labels(self) -> "pd.DataFrame":
        """`dsnet.schemas.LABELS`."""
        table = self._table("LABELS")
        included = self.ledger.loc[self.ledger["status"] == "included", "file_key"]
        if set(table["file_key"]) != set(included):
            raise _apart("labels.csv", "ledger.csv")
        return table

    @cached_property
    def split(self) -> "pd.DataFrame":
        """`dsnet.schemas.SPLIT`."""
        table = self._table("SPLIT")
        if set(table["image_key"]) != set(self.labels["image_key"]):
            raise _apart("split.csv", "labels.csv")
        return table

    @cached_property
    def split_proof(self) -> Json:
        """What the split step proved: that no patient, study, image or pixel hash is shared."""
        return read_json(
            self.cohort / "split_proof.json", "distinct", "shared", "unit", "source", "seed"
        )

    @cached_property
    def slices(self) -> Json:
        """What ``slices.json`` says of the slice store: cohort, grid, counts and digests."""
        facts = read_json(
            self.cohort / "slices.json", "cohort", "synthetic", "boxes_sha256", "split_sha256"
        )
        for name, file in (("boxes_sha256", "slices.csv"), ("split_sha256", "split.csv")):
            if facts[name] != sha256(self.cohort / file):
                raise _apart("slices.json", file)
        return facts

    @cached_property
    def slices_sha256(self) -> str:
        """SHA-256 of ``slices.json``, which manifests and metrics repeat."""
        return sha256(self.cohort / "slices.json")

    @cached_property
    def box_checks(self) -> "pd.DataFrame":
        """`dsnet.schemas.BOX_CHECKS`: what the pixels say of each box."""
        table = self._table("BOX_CHECKS")
        if set(table["image_key"]) != set(self.labels["image_key"]):
            raise _apart("box_checks.csv", "labels.csv")
        return table

    @cached_property
    def thumbnails(self) -> "pd.DataFrame | None":
        """`dsnet.schemas.THUMBNAILS` of excluded images; None where they were not made."""
        made = (self.cohort / "thumbnails.parquet").exists()
        return self._table("THUMBNAILS") if made else None

    def predictions(self, run: str, subset: str) -> "pd.DataFrame":
        """Return `dsnet.schemas.PREDICTIONS` of one training on one subset.

        Parameters
        ----------
        run : str
            ``backbone/attention/seedN``.
        subset : {"validation", "test"}
        """
        return self._table("PREDICTIONS", f"predictions/{run}/{subset}.parquet")

    def metrics(self, method: str) -> Json:
        """Return the metrics of a detector (``resnet50/ds``) or baseline (``hu/multinomial``).

        Raises
        ------
        UserError
            If they were computed from other slices than those that lie here.
        """
        metrics = read_json(self.folder / "metrics" / f"{method}.json", "metrics", "slices_sha256")
        if metrics["slices_sha256"] != self.slices_sha256:
            raise _apart(f"metrics/{method}.json", "slices.json")
        return metrics

    def history(self, run: str) -> "pd.DataFrame":
        """Return `dsnet.schemas.HISTORY` of one training."""
        return self._table("HISTORY", f"models/{run}/history.csv")

    def manifest(self, run: str) -> Json:
        """Return the manifest of one training.

        Raises
        ------
        UserError
            If it was trained on other slices than those that lie here.
        """
        manifest = read_json(
            self.folder / "models" / run / "manifest.json", "settings", "data", "machine", "result"
        )
        if manifest["data"]["digest_sha256"] != self.slices_sha256:
            raise _apart(f"models/{run}/manifest.json", "slices.json")
        return manifest

    def runs(self) -> list[str]:
        """Return the trainings that there are, as ``backbone/attention/seedN``, by name."""
        models = self.folder / "models"
        return sorted(
            path.parent.relative_to(models).as_posix()
            for path in models.glob("*/*/seed*/manifest.json")
        )

    def json(self, name: str, *keys: str) -> Json:
        """Return another JSON file of the folder, which must have `keys`."""
        return read_json(self.folder / name, *keys)

    def _table(self, schema: str, path: str = "") -> "pd.DataFrame":
        """Return a table; without a path below the folder, one of ``cohort/``."""
        from dsnet import schemas  # noqa: PLC0415 - pandas and pandera, where a table is asked for

        checked: pa.DataFrameSchema = getattr(schemas, schema)
        return schemas.read(checked, self.folder / (path or f"cohort/{checked.name}"))


def load_results(folder: Path | str) -> Results:
    """Return what the workflow wrote into a results folder, as documented tables.

    Parameters
    ----------
    folder : Path or str
        The config key ``results``. Neither the cohort nor the private folder is needed.

    Returns
    -------
    Results
        ``index``, ``ledger``, ``labels``, ``split`` and others as DataFrames, each described by its
        schema in `dsnet.schemas`; `Results.predictions`, `Results.metrics` and others by name.

    Examples
    --------
    >>> import dsnet
    >>> results = dsnet.load_results("results")
    >>> results.ledger["status"].value_counts().to_dict()
    {'excluded': 28, 'included': 21}
    """
    return Results(Path(folder))


def read_source(folder: Path) -> Source:
    """Return what ``source.json`` of a results folder says.

    Raises
    ------
    UserError
        If it is missing or is not what ingestion writes.
    """
    values = read_json(folder / SOURCE, *Source.__dataclass_fields__)
    return Source(**{name: values[name] for name in Source.__dataclass_fields__})


def identify(
    folder: Path,
    private: Path,
    *,
    marks: NDArray[np.int64],
    uids: Iterable[str],
    phantom_seed: int | None,
) -> PrivateCohort:
    """Return the private side of the cohort that is being ingested into a results folder.

    The cohort is the one of `folder` if there are results; else the one whose map shares most
    images with it; else a new one.

    Parameters
    ----------
    folder : Path
        The results folder.
    private : Path
        The folder of the config key ``private``.
    marks : (marks,) int64 array
        `dsnet.private.image_marks` of the cohort folder.
    uids : iterable of str
        SOP Instance UIDs of all files of the cohort folder whose header can be read.
    phantom_seed : int or None
        What the cohort folder says of itself.

    Raises
    ------
    UserError
        If the results are another cohort's or were made with another key, or if two cohorts share
        most images with the folder.
    """
    seed = phantom_seed if is_phantom(phantom_seed, uids) else None
    existing = read_source(folder) if (folder / SOURCE).exists() else None
    if existing is not None and (seed is None) != (existing.phantom_seed is None):
        raise _another_cohort(folder)  # everybody can compute the key of the phantom's
    if seed is not None:
        return open_private(private, phantom_id(seed), phantom_seed=seed, create=True)
    if existing is not None:
        known = Results(folder).private(private)
        if not share_images(marks, mapped_marks(private, existing.cohort_id), grown=True):
            raise _another_cohort(folder)
        return known
    candidates = [
        cohort_id
        for cohort_id in cohort_ids(private)
        if share_images(marks, mapped_marks(private, cohort_id), grown=False)
    ]
    if len(candidates) > 1:
        raise UserError(
            str(private),
            expected="at most one cohort that shares most images with the cohort folder",
            came=f"{len(candidates)} ({', '.join(candidates)})",
            remedy="move the folders of all but one of them away, or set the config key results "
            "to the results of the one that is meant",
        )
    return open_private(private, candidates[0] if candidates else new_cohort_id(), create=True)


def check_source(folder: Path, private: Path, cohort: Path) -> None:
    """Make sure that a cohort folder may be ingested into a results folder; called by the workflow.

    Before anything is planned, since Snakemake deletes outputs before it makes them again. Nothing
    is checked where there are no results yet, no raw data or no private map (as after a clone and
    ``dvc pull``).

    Raises
    ------
    UserError
        If the results are another cohort's, or were made with another key.
    """
    if not (folder / SOURCE).exists() or not (cohort / "dicom").is_dir():
        return
    results = Results(folder)
    if (private / results.source.cohort_id / "map.parquet").exists():
        results.private(private, cohort)


def _another_cohort(folder: Path) -> UserError:
    return UserError(
        str(folder / SOURCE),
        expected="results of the configured cohort",
        came="results of another one, which shares few images with it or none",
        remedy="set the config key results to another folder, or cohort to the folder of these "
        "results, or delete these results",
    )


def _apart(name: str, other: str) -> UserError:
    return UserError(
        name,
        expected=f"the file that was written together with {other}",
        came="one of another run",
        remedy="run the workflow again, so that all files come from one run",
    )
