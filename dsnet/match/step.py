"""The match step: the hospital's tables and annotations, each read once, by file and patient."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import collect
from dsnet.cohort.dxa import read_dxa
from dsnet.cohort.exams import exams_table
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Annotations, Clinical, Dxa, Label
from dsnet.errors import UserError
from dsnet.match.decisions import decisions_table, read_review
from dsnet.match.patients import (
    check_some_match,
    near_misses,
    patients_table,
    read_clinical,
    write_id_match,
)
from dsnet.private import PrivateCohort
from dsnet.results import Results
from dsnet.step import run


def match(
    *,
    annotations: Annotations,
    dxa: Dxa,
    clinical: Clinical,
    label: Label,
    cohort: Path,
    private: Path,
    source: Path,
    index: Path,
    boxes: Path,
    exams: Path,
    patients: Path,
    decisions: Path,
) -> None:
    """Match annotations, exams, histories and decisions with the files and patients of the CT.

    A cohort without ``dxa.csv`` or ``annotations/`` is legal here: its files are excluded later,
    each with that reason. What comes near a patient ID goes to ``id_match.csv`` in the private
    folder, and what comes near an annotation's image to ``annotation_match.csv``.

    Parameters
    ----------
    annotations, dxa, clinical, label : Annotations, Dxa, Clinical, Label
    cohort : Path
        The cohort folder, for its tables.
    private : Path
        The folder of the config key ``private``, for the map.
    source, index : Path
        Whose results these are, and `schemas.INDEX`.
    boxes, exams, patients, decisions : Path
        Written: `schemas.ANNOTATIONS`, `schemas.EXAMS`, `schemas.PATIENTS` and
        `schemas.DECISIONS`.

    Raises
    ------
    UserError
        Naming table and row of what cannot be read, or does not fit the images.
    """
    folder = CohortFolder(cohort)
    own = Results(source.parents[1]).private(private, cohort)
    files = schemas.read(schemas.INDEX, index)
    identities = own.read_map()
    _check_map(files, identities)
    annotated = collect(
        folder.annotations, files, identities, annotations, own.annotation_match_path
    )
    measured = read_dxa(folder.dxa, label.t_score, dxa)
    histories = read_clinical(folder.clinical, clinical)
    scanned = identities["patient_id"]
    # Of patients who withdrew, rows may still stand in the hospital's tables.
    ids_of = {"dxa": _present(measured.exams, own), "clinical": _present(histories, own)}
    unmatched = near_misses({"ct": scanned, **ids_of})
    write_id_match(unmatched, own.id_match_path)
    check_some_match("DXA table", ids_of["dxa"], scanned)
    check_some_match("clinical table", ids_of["clinical"], scanned)
    ct = files.merge(identities[["file_key", "patient_id", "ct_date"]], on="file_key")
    schemas.write(schemas.ANNOTATIONS, annotated, boxes)
    people = patients_table(
        ct, measured, histories, unmatched, clinical=folder.clinical, private=own
    )
    for schema, table, path in (
        (schemas.EXAMS, exams_table(ct, measured, own), exams),
        (schemas.PATIENTS, people, patients),
    ):
        # Their rows may still stand in the hospital's tables.
        kept = table[~table["patient_key"].isin(own.withdrawn())]
        schemas.write(schema, kept, path)
    decided = decisions_table(files, identities, read_review(folder.review))
    schemas.write(schemas.DECISIONS, decided, decisions)


def _present(ids: Iterable[str], own: PrivateCohort) -> list[str]:
    """Return the IDs of a table without those of patients who withdrew."""
    gone = own.withdrawn()
    return [name for name in ids if not gone or own.pseudonym("patient", name) not in gone]


def _check_map(files: pd.DataFrame, identities: pd.DataFrame) -> None:
    if set(files["file_key"]) != set(identities["file_key"]):
        raise UserError(
            "index.parquet",
            expected="the files of the private map",
            came=f"{len(files)} files beside {len(identities)} in the map",
            remedy="run the ingestion again",
        )


if __name__ == "__main__":
    run(match)
