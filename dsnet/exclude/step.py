"""The exclusion step: index and the user's tables in, ledger and flow out."""

from pathlib import Path

from dsnet import contract
from dsnet.cohort.annotations import ImageFiles, place, read_annotations
from dsnet.cohort.clinical import read_clinical
from dsnet.cohort.dxa import check_reading, read_dxa
from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.review import read_review
from dsnet.config import Exclude
from dsnet.exclude.evidence import gather
from dsnet.exclude.flow import flow as flow_of
from dsnet.exclude.ledger import exclusions_table, ledger_table
from dsnet.exclude.override import override
from dsnet.exclude.verdict import judge
from dsnet.files import write_json
from dsnet.pseudonym import open_vault


def exclude(
    *,
    params: Exclude,
    cohort: Path,
    private: Path,
    index: Path,
    ledger: Path,
    exclusions: Path,
    flow: Path,
    reading: str = "patient",
) -> None:
    """Judge every file of the index, and write why it is in or out.

    A cohort without ``dxa.csv`` or ``annotations/`` is legal here: its files reach the ledger, each
    with that reason.

    Parameters
    ----------
    params : Exclude
    cohort : Path
        The cohort folder, for its tables.
    private : Path
        The folder of the config key ``private``, for the map.
    index : Path
        `dsnet.contract.INDEX`.
    ledger, exclusions, flow : Path
        Written: one row per file, one per patient, and the counts as JSON.
    reading : str
        The config key ``label.reading``: which T-score labels a vertebra.

    Raises
    ------
    UserError
        Naming table and row of what cannot be read, or does not fit the images.
    """
    folder = CohortFolder(cohort)
    files = contract.read(contract.INDEX, index)
    identities = contract.read(contract.MAP, open_vault(private, folder).map_path)
    boxes = place(read_annotations(folder.annotations), ImageFiles.of(files, identities))
    label_by = check_reading(reading)
    dxa = read_dxa(folder.dxa, label_by)
    histories = read_clinical(folder.clinical)
    evidence = gather(files, identities, boxes, dxa, histories, reading=label_by)
    verdict = judge(evidence, params, override(evidence, read_review(folder.review)))
    patients = exclusions_table(evidence, verdict)
    contract.write(contract.LEDGER, ledger_table(evidence, verdict, params), ledger)
    contract.write(contract.EXCLUSIONS, patients, exclusions)
    write_json(flow, flow_of(evidence, verdict, patients, params, folder))
