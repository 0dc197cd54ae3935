"""An external cohort as one test subset: ``python -m dsnet.split.external``."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.split import describe_patients
from dsnet.split.step import prove, split_table
from dsnet.step import run


def take_whole(
    *, params: Split, labels: Path, index: Path, internal: Path, split: Path, proof: Path
) -> None:
    """Make all labelled patients of an external cohort test patients.

    Those who lack one of L1-L4, too: who is tested is not chosen here.

    Parameters
    ----------
    params : Split
    labels, index : Path
        `schemas.LABELS` and `schemas.INDEX` of the external cohort.
    internal : Path
        `schemas.INDEX` of the cohort that detectors are trained on.
    split : Path
        Written: `schemas.SPLIT`.
    proof : Path
        Written: as `dsnet.split.step.prove` returns it, and how many images of the internal cohort
        were compared with, none of which has the pixels of an external one.

    Raises
    ------
    UserError
        If a labelled image has the pixels of an image of the internal cohort.
    """
    boxes, files = schemas.read(schemas.LABELS, labels), schemas.read(schemas.INDEX, index)
    own = schemas.read(schemas.INDEX, internal)
    hashes = set(own.loc[own["decoded"], "pixel_hash"])
    check_apart(boxes, files, hashes)
    patients = describe_patients(boxes, files, params.seed)
    table = split_table(boxes, patients, pd.Series("test", index=patients.index, dtype=str))
    whole = params.model_copy(update={"file": None, "unit": "patient"})
    evidence = prove(table, boxes, files, whole)
    evidence |= {"source": "external", "seed": None, "requested": None}
    evidence["internal"] = {"images_compared": len(hashes), "shared_pixel_hashes": 0}
    schemas.write(schemas.SPLIT, table, split)
    write_json(proof, evidence)


def check_apart(boxes: pd.DataFrame, files: pd.DataFrame, internal: set[str]) -> None:
    """Raise `UserError` if a labelled image has one of the pixel hashes `internal`.

    Pseudonyms cannot show a shared patient, since each cohort has a key of its own.
    """
    labelled = files[files["file_key"].isin(boxes["file_key"])]
    shared = labelled.loc[labelled["pixel_hash"].isin(internal), "file_key"]
    if len(shared):
        raise UserError(
            f"external cohort ({shared.iloc[0]})",
            expected="images that the internal cohort does not have",
            came=f"{len(shared)} with the pixels of an internal one",
            remedy="take these patients out of one of the two cohorts",
        )


if __name__ == "__main__":
    run(take_whole)
