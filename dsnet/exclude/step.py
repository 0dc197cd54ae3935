"""The exclusion step: index and the user's tables in, ledger and flow out."""

from pathlib import Path

from dsnet import schemas
from dsnet.cohort.annotations.collect import collect, used
from dsnet.cohort.clinical import read_clinical
from dsnet.cohort.dxa import check_reading, read_dxa
from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.identity import lone_ids, match_counts, write_id_match
from dsnet.cohort.review import read_review
from dsnet.config import Annotations, Dxa, Exclude
from dsnet.exclude.evidence import gather
from dsnet.exclude.exams import exams_table
from dsnet.exclude.flow import flow as flow_of
from dsnet.exclude.ledger import exclusions_table, ledger_table
from dsnet.exclude.override import override
from dsnet.exclude.verdict import judge
from dsnet.files import write_json
from dsnet.pseudonym import open_vault


def exclude(
    *,
    params: Exclude,
    annotations: Annotations,
    cohort: Path,
    private: Path,
    index: Path,
    boxes: Path,
    ledger: Path,
    exclusions: Path,
    flow: Path,
    exams: Path,
    dxa: Dxa,
    reading: str = "patient",
) -> None:
    """Judge every file of the index, and write why it is in or out.

    A cohort without ``dxa.csv`` or ``annotations/`` is legal here: its files reach the ledger, each
    with that reason.

    Parameters
    ----------
    params : Exclude
    annotations : Annotations
    cohort : Path
        The cohort folder, for its tables.
    private : Path
        The folder of the config key ``private``, for the map.
    index : Path
        `dsnet.schemas.INDEX`.
    boxes : Path
        Written: `dsnet.schemas.ANNOTATIONS`, what became of each annotation.
    ledger, exclusions, flow : Path
        Written: one row per file, one per patient, and the counts as JSON.
    exams : Path
        Written: `dsnet.schemas.DXA_EXAMS`.
    dxa : Dxa
        How the DXA table is read.
    reading : str
        The config key ``label.t_score``: which T-score labels a vertebra.

    Raises
    ------
    UserError
        Naming table and row of what cannot be read, or does not fit the images.
    """
    folder = CohortFolder(cohort)
    files = schemas.read(schemas.INDEX, index)
    vault = open_vault(private, folder)
    identities = schemas.read(schemas.MAP, vault.map_path)
    annotated = collect(folder.annotations, files, identities, annotations)
    label_by = check_reading(reading)
    measured = read_dxa(folder.dxa, label_by, dxa)
    histories = read_clinical(folder.clinical)
    lone = lone_ids(identities["patient_id"], measured.exams)
    write_id_match(lone, vault.id_match_path)
    evidence = gather(files, identities, used(annotated), measured, histories, reading=label_by)
    verdict = judge(evidence, params, override(evidence, read_review(folder.review)))
    patients = exclusions_table(evidence, verdict)
    schemas.write(schemas.ANNOTATIONS, annotated, boxes)
    schemas.write(schemas.LEDGER, ledger_table(evidence, verdict, params), ledger)
    schemas.write(schemas.EXCLUSIONS, patients, exclusions)
    schemas.write(schemas.DXA_EXAMS, exams_table(evidence, measured), exams)
    counted = flow_of(evidence, verdict, patients, params, folder)
    write_json(flow, {**counted, "identity": match_counts(lone, measured.exams)})
