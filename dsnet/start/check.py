"""All faults of a cohort at once, by the very readers and rules of the steps; nothing is written.

The steps stop at their first error. Here `dsnet.errors.collect_errors` has the same functions go
on, so that what follows needs no second implementation of any rule.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.cohort.annotations.collect import collect, match, used
from dsnet.cohort.annotations.image_files import ImageFiles
from dsnet.cohort.dxa import read_dxa
from dsnet.cohort.exams import DxaTable, exams_table
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Slices
from dsnet.config.load import Config
from dsnet.dicom import reader
from dsnet.dicom.evidence import Evidence, Thresholds
from dsnet.dicom.reader import Facts, Limits
from dsnet.dicom.scan import scan
from dsnet.errors import UserError, collect_errors, collectable
from dsnet.exclude.criterion import classify, gather
from dsnet.exclude.step import apply_criteria, exclusions_table, ledger_table
from dsnet.ingest.cache import facts_table
from dsnet.ingest.index import replaced_kernels, tables
from dsnet.ingest.workers import read_all
from dsnet.label import included_files, label_boxes
from dsnet.match.patients import (
    History,
    UnmatchedId,
    check_some_match,
    near_misses,
    patients_table,
    read_clinical,
)
from dsnet.match.step import decisions_table, read_review
from dsnet.private import PrivateCohort, new_cohort_id
from dsnet.results import SOURCE, Results
from dsnet.schemas import CLASSES
from dsnet.slices.step import build, store_tasks
from dsnet.split import assign_patients, describe_patients
from dsnet.start.faults import Checked, Weight, sorted_faults

_LISTED: Final = 6
"""Names of a kind (kernels, criteria) that one line lists."""

_NOT_DECODED: Final = Evidence(-1000.0, 1500.0, 0, 0.0, 0.0, 0.0, "")
"""Stands for the pixels of a file of which the header alone is read: they exclude nothing."""


def check_cohort(config: Config, *, pixels: bool = False, external: bool = False) -> Checked:
    """Return all faults of the configured cohort, and what would become of it.

    Parameters
    ----------
    config : Config
    pixels : bool
        Decode the pixels, too: minutes, as the ingestion takes, instead of seconds. Without them
        no file counts as undecodable, as a copy under another UID, or as showing metal.
    external : bool
        Whether the cohort is an external one, which is not split.
    """
    folder = CohortFolder(config.cohort)
    notes = list(_strangers(folder))
    try:
        folder.check()
        private = _private(config)
        index, identities, kernels = _index(folder, config, private, pixels=pixels)
    except UserError as error:
        return Checked(sorted_faults([*notes, ("stop", error)]))
    notes += [*_missing(folder, config), *_unread(index), *_kernels(index, kernels, config)]
    with collect_errors() as stops:  # causes before what follows from them
        read = _read(folder, config, index, identities)
        checked = _outcome(folder, config, private, read, pixels=pixels, external=external)
    notes += _near_misses(read.unmatched)
    notes += [(fault.weight, fault.error) for fault in checked.faults]
    return replace(checked, faults=sorted_faults([*notes, *(("stop", error) for error in stops)]))


@dataclass(frozen=True)
class _Read:
    """What the hospital brings, each table without its faulty rows."""

    index: pd.DataFrame
    identities: pd.DataFrame
    annotated: pd.DataFrame
    dxa: DxaTable
    histories: dict[str, History]
    decided: pd.DataFrame
    unmatched: list[UnmatchedId]


def _read(
    folder: CohortFolder, config: Config, index: pd.DataFrame, identities: pd.DataFrame
) -> _Read:
    """Read tables and annotations as the match step does; one that cannot be read is empty."""
    annotated = match([], ImageFiles(index, identities), config.annotations)
    dxa, histories, decisions = DxaTable({}), {}, []
    with collectable():
        annotated = collect(folder.annotations, index, identities, config.annotations)
    with collectable():
        dxa = read_dxa(folder.dxa, config.label.t_score, config.dxa)
    with collectable():
        histories = read_clinical(folder.clinical, config.clinical)
    with collectable():
        decisions = read_review(folder.review)
    scanned = identities["patient_id"]
    for table, ids in (("DXA table", dxa.exams), ("clinical table", histories)):
        with collectable():
            check_some_match(table, ids, scanned)
    return _Read(
        index,
        identities,
        annotated,
        dxa,
        histories,
        decisions_table(index, identities, decisions),
        near_misses({"ct": scanned, "dxa": dxa.exams, "clinical": histories}),
    )


def _outcome(
    folder: CohortFolder,
    config: Config,
    private: PrivateCohort,
    read: _Read,
    *,
    pixels: bool,
    external: bool,
) -> Checked:
    """Exclude, label and split in memory, as far as the cohort allows."""
    ct = read.index.merge(read.identities[["file_key", "patient_id", "ct_date"]], on="file_key")
    exams = exams_table(ct, read.dxa, private)
    people = patients_table(
        ct,
        read.dxa,
        read.histories,
        read.unmatched,
        clinical=folder.clinical if read.histories else Path("no table"),
        private=private,
    )
    boxes = used(read.annotated)
    files = gather(read.index, boxes, exams, people, t_score=config.label.t_score)
    outcome = apply_criteria(files, config.exclude, read.decided)
    patients = exclusions_table(files, outcome)
    excluded = Counter(patients.loc[patients["status"] == "excluded", "criterion"])
    checked = Checked((), len(files), len(patients), excluded=dict(excluded.most_common()))
    with collectable():
        ledger = ledger_table(files, outcome, config.exclude)
        labels = label_boxes(included_files(ledger), boxes, exams, config.label.t_score)
        described = describe_patients(labels, read.index, config.split.seed)
        classes = described["stratum"].value_counts().reindex(CLASSES, fill_value=0)
        checked = replace(checked, included={str(name): int(n) for name, n in classes.items()})
        if pixels:
            tasks = store_tasks(labels, read.index, read.identities, folder.dicom)
            with TemporaryDirectory() as scratch, collectable():
                build(Path(scratch) / "slices.npy", tasks, config.slices)
        else:
            grid = sorted_faults(list(_beyond_grid(labels, read.index, config.slices)))
            checked = replace(checked, faults=grid)
        if external:
            checked = replace(checked, images={"test": int(labels["image_key"].nunique())})
        elif config.split.unit == "patient" and config.split.file is None:
            subsets = assign_patients(described, config.split)
            images = labels.drop_duplicates("image_key")["patient_key"].map(subsets)
            counts = images.value_counts()
            checked = replace(checked, images={str(name): int(n) for name, n in counts.items()})
    return checked


def _beyond_grid(
    labels: pd.DataFrame, index: pd.DataFrame, params: Slices
) -> Iterator[tuple[Weight, UserError]]:
    """Say whether boxes are wider than the grid, or beyond it if the body is in the middle.

    The grid lies about the body's middle, which the pixels alone show; the header gives that of the
    image.
    """
    boxes = labels.merge(index.drop(columns=["image_key", "patient_key"]), on="file_key")
    boxes = boxes[(boxes[["row_spacing_mm", "column_spacing_mm"]] > 0).all(axis="columns")]
    grid_mm = params.size_px * params.pixel_mm
    width, needed = np.zeros(len(boxes)), np.zeros(len(boxes))
    for low, high, length, spacing in (
        ("x_min", "x_max", "columns", "column_spacing_mm"),
        ("y_min", "y_max", "rows", "row_spacing_mm"),
    ):
        step, middle = boxes[spacing], boxes[length] / 2
        width = np.maximum(width, (boxes[high] - boxes[low]) * step)
        reach = np.maximum(middle - boxes[low], boxes[high] - middle)
        needed = np.maximum(needed, 2 * reach * step)
    grid = f"the grid of {params.size_px} px of {params.pixel_mm} mm"
    ways: list[tuple[Weight, NDArray[np.bool_], str]] = [
        ("stop", width > grid_mm, "wider"),
        (
            "note",
            (needed > grid_mm) & (width <= grid_mm),
            "beyond it, if the body is in the middle",
        ),
    ]
    for weight, where, how in ways:
        if where.any():
            size_px = 32 * ceil(needed.max() / params.pixel_mm / 32)
            error = UserError(
                "config slices",
                expected=f"boxes within {grid}",
                came=f"{int(where.sum()):,} of {len(boxes):,} {how}",
                remedy=f"set slices.size_px to {size_px}, or have dsnet check --pixels look "
                "where the body is: the workflow stops at a box that the grid cuts",
            )
            yield weight, error


def read_header(path: str, thresholds: Thresholds, limits: Limits, *, decode: bool = True) -> Facts:
    """Return the facts of one file as `dsnet.dicom.reader.read` does, without decoding it."""
    facts = reader.read(path, thresholds, limits, decode=False)
    if facts.header is None or facts.fault != "decode_error" or not decode:
        return facts
    # Copies of one image have one UID; without pixels nothing else shows them.
    mark = hashlib.sha256((facts.header.sop_instance_uid or path).encode("utf-8", "replace"))
    return facts._replace(fault="", evidence=_NOT_DECODED._replace(pixel_hash=mark.hexdigest()))


def _private(config: Config) -> PrivateCohort:
    """Return the private side of the results that there are, or one that is never written."""
    if (config.results / SOURCE).exists():
        return Results(config.results).private(config.private, config.cohort)
    name = new_cohort_id()
    return PrivateCohort(name, name.encode(), config.private / name)


def _index(
    folder: CohortFolder, config: Config, private: PrivateCohort, *, pixels: bool
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return index, map and the texts of kernels that the index replaces."""
    params = config.ingest
    files = scan(folder.dicom)
    if not files:
        raise UserError(
            "cohort folder",
            expected="DICOM files in its folder dicom/",
            came="none",
            remedy="put them there, or set the config key cohort to another folder",
        )
    read = reader.read if pixels else read_header
    limits = Limits(params.max_seconds, params.max_memory_mb << 20, params.max_decoded_mb << 20)
    thresholds = Thresholds(params.metal_hu, params.cement_hu)
    facts = facts_table(
        (file.relative, one)
        for chunk in read_all(files, thresholds, limits, params.processes, read)
        for file, one in chunk
    )
    return *tables(facts, private), replaced_kernels(facts["kernel"], private)


def _strangers(folder: CohortFolder) -> Iterator[tuple[Weight, UserError]]:
    for name, near in folder.strangers():
        known = f"an entry that is nearly called {near}" if near else "an entry that is not read"
        error = UserError(
            "cohort folder",
            expected="dicom/, annotations/, dxa, clinical and review (.csv or .xlsx) and "
            "cohort.json alone",
            came=known,
            remedy=f"rename it to {near}"
            if near
            else "move it elsewhere, or let it lie: phi-check searches it",
            private=name,
        )
        yield "stop" if folder.lacks(near) else "loss" if near else "note", error


def _missing(folder: CohortFolder, config: Config) -> Iterator[tuple[Weight, UserError]]:
    """Say what is not there, and what follows."""
    unknown = "kept" if config.exclude.unknown_history == "keep" else "excluded"
    follows: list[tuple[Weight, str, str, str]] = [
        (
            "stop",
            "annotations",
            "annotations/ with files",
            "every patient is excluded (no_annotation)",
        ),
        ("stop", "dxa", "dxa.csv or dxa.xlsx", "every patient is excluded (no_dxa)"),
        ("note", "clinical", "clinical.csv", f"histories are unknown and patients {unknown}"),
    ]
    for weight, name, what, consequence in follows:
        try:
            path = getattr(folder, name)
            there = any(path.iterdir()) if path.is_dir() else path.exists()
        except UserError:  # two tables of a name, or one in another format: reading it says so
            continue
        if not there:
            error = UserError(
                "cohort folder",
                expected=what,
                came="none",
                remedy=f"bring it; without it {consequence}",
            )
            yield weight, error


def _unread(index: pd.DataFrame) -> Iterator[tuple[Weight, UserError]]:
    counts = index.loc[index["fault"] != "", "fault"].value_counts()
    for fault, number in counts.items():
        error = UserError(
            "dicom/",
            expected="DICOM files that can be read",
            came=f"others ({fault}: {number:,})",
            remedy="nothing need be done if they are no images: each is excluded with this reason",
        )
        yield "note", error


def _kernels(
    index: pd.DataFrame, texts: pd.DataFrame, config: Config
) -> Iterator[tuple[Weight, UserError]]:
    rule = config.exclude.criteria.not_bone_kernel
    ct = index[index["readable"] & (index["modality"] == "CT")]
    kinds = classify(ct["vendor"], ct["kernel"], rule.bone_kernels)
    unknown = ct.loc[(kinds == "unknown").to_numpy() & (ct["kernel"] != "").to_numpy()]
    if not rule.enabled or unknown.empty:
        return
    counts = Counter(zip(unknown["vendor"], unknown["kernel"], strict=True)).most_common()
    listed = [f"{name} of {vendor} ({n:,} files)" for (vendor, name), n in counts]
    then = {"review": "flags", "exclude": "excludes", "keep": "keeps"}[rule.unknown_kernel]
    error = UserError(
        "dicom/",
        expected="reconstruction kernels of the vendor table",
        came=", ".join(listed[:_LISTED])
        + (f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""),
        remedy="name those that are made for bone in "
        f"exclude.criteria.not_bone_kernel.bone_kernels; else the rule {then} their files",
        private=", ".join(f"{row.kernel} is {row.text}" for row in texts.itertuples()),
    )
    yield "loss" if rule.unknown_kernel == "exclude" else "note", error


def _near_misses(unmatched: Sequence[UnmatchedId]) -> Iterator[tuple[Weight, UserError]]:
    """Yield one fault for each table and way in which IDs nearly equal those of another one."""
    pairs_once = {
        frozenset((one.patient_id, other)): (one.side, how, one.patient_id, other)
        for one in reversed(unmatched)
        for other, how in one.near
    }
    near = list(pairs_once.values())
    for (side, how), group in groupby(sorted(near), key=lambda item: item[:2]):
        pairs = [(one, other) for _, _, one, other in group]
        ids = {one for one, _ in pairs}
        error = UserError(
            "dicom/" if side == "ct" else side,
            expected="each patient under one ID in headers and tables",
            came=f"IDs that differ from another one by {how} alone: {len(ids):,}",
            remedy="write both alike (patient_id as text keeps its zeros), or leave them if "
            "they are two patients; an ID without its partner counts as no_dxa",
            private="; ".join(f"{one} ~ {other}" for one, other in pairs),
        )
        yield "loss", error
    counts = Counter(one.side for one in unmatched if not one.near)
    for side, came, follows in (
        ("ct", "patients of the CT without a row in the DXA table", "it is excluded (no_dxa)"),
        ("dxa", "patients of the DXA table without CT", "it counts nowhere"),
        ("clinical", "patients of the clinical table without CT", "it counts nowhere"),
    ):
        if counts[side]:
            names = [one.patient_id for one in unmatched if one.side == side and not one.near]
            error = UserError(
                "dicom/" if side == "ct" else side,
                expected="the same patients in headers and tables",
                came=f"{came}: {counts[side]:,}",
                remedy=f"bring what such a patient lacks, or leave it: {follows}",
                private=", ".join(names),
            )
            yield "loss" if side == "ct" else "note", error
