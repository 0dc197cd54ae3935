"""The exclusion step: what the cohort's files and tables say in, ledger and flow out."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.config.cohort import Exclude, Label
from dsnet.exclude.evidence import gather
from dsnet.exclude.flow import flow as flow_of
from dsnet.exclude.ledger import exclusions_table, ledger_table
from dsnet.exclude.verdict import judge
from dsnet.files import write_json
from dsnet.results import read_source
from dsnet.step import run


def exclude(
    *,
    exclude: Exclude,
    label: Label,
    source: Path,
    index: Path,
    boxes: Path,
    exams: Path,
    patients: Path,
    decisions: Path,
    ledger: Path,
    exclusions: Path,
    flow: Path,
) -> None:
    """Apply every criterion to every file of the index, and write why it is in or out.

    Parameters
    ----------
    exclude : Exclude
    label : Label
        Says which T-score labels a vertebra.
    source : Path
        Names the cohort.
    index, boxes, exams, patients, decisions : Path
        `schemas.INDEX`, and what the match step wrote.
    ledger, exclusions, flow : Path
        Written: one row per file, one per patient, and the counts as JSON.
    """
    people = schemas.read(schemas.PATIENTS, patients)
    files = gather(
        schemas.read(schemas.INDEX, index),
        used(schemas.read(schemas.ANNOTATIONS, boxes)),
        schemas.read(schemas.EXAMS, exams),
        people,
        t_score=label.t_score,
    )
    verdict = judge(files, exclude, schemas.read(schemas.DECISIONS, decisions))
    outcome = exclusions_table(files, verdict)
    schemas.write(schemas.LEDGER, ledger_table(files, verdict, exclude), ledger)
    schemas.write(schemas.EXCLUSIONS, outcome, exclusions)
    counts = flow_of(files, verdict, outcome, exclude, read_source(source.parents[1]))
    write_json(flow, {**counts, "identity": match_counts(people)})


def match_counts(patients: pd.DataFrame) -> dict[str, int]:
    """Return how many patients the DXA table and the CT share.

    Parameters
    ----------
    patients : DataFrame
        `schemas.PATIENTS`.

    Returns
    -------
    dict
        ``dxa_patients``, of them ``matched``; ``ct_without_dxa`` and ``dxa_without_ct``, patients;
        ``near_misses``, patients without a partner whose ID nearly equals another one.
    """
    ct, dxa = patients["in_ct"], patients["in_dxa"]
    return {
        "dxa_patients": int(dxa.sum()),
        "matched": int((ct & dxa).sum()),
        "ct_without_dxa": int((ct & ~dxa).sum()),
        "dxa_without_ct": int((dxa & ~ct).sum()),
        "near_misses": int((patients["near_misses"] > 0).sum()),
    }


if __name__ == "__main__":
    run(exclude)
