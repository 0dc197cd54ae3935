"""The split step: labels and index in, one subset per labelled image out, with its proof."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.spreadsheet import read_table
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.schemas import SUBSETS
from dsnet.split.assign import assign_images, assign_patients, describe_images, describe_patients
from dsnet.split.proof import check, prove
from dsnet.step import run

_IMPORT_COLUMNS = ["patient_key", "subset"]
_IMPORT_NAME = "split.file"


def split_cohort(*, params: Split, labels: Path, index: Path, split: Path, proof: Path) -> None:
    """Split the labelled patients, or their images (`split.unit`), into the three subsets.

    Parameters
    ----------
    params : Split
    labels, index : Path
        Tables `schemas.LABELS` and `schemas.INDEX`.
    split : Path
        Written: `schemas.SPLIT`, one row per labelled image.
    proof : Path
        Written: what the subsets share (nothing, unless split by image), and what each holds, as
        JSON.

    Raises
    ------
    UserError
        If the patients do not suffice, if an imported split does not fit them, or if two subsets
        share anything; then nothing is written.
    """
    boxes = schemas.read(schemas.LABELS, labels)
    files = schemas.read(schemas.INDEX, index)
    if params.unit == "image":
        table = assign_images(describe_images(boxes, files), params)
    else:
        patients = describe_patients(boxes, files, params.seed)
        if params.file is None:
            subsets = assign_patients(patients, params)
        else:
            subsets = read_subsets(params.file, patients)
        table = split_table(boxes, patients, subsets)
    evidence = prove(table, boxes, files, params)
    check(evidence)
    schemas.write(schemas.SPLIT, table, split)
    write_json(proof, evidence)


def split_table(
    boxes: pd.DataFrame, patients: pd.DataFrame, subsets: "pd.Series[str]"
) -> pd.DataFrame:
    """Return the table `schemas.SPLIT`, sorted by image so that it does not depend on row order.

    Parameters
    ----------
    boxes : pandas.DataFrame
        `schemas.LABELS`.
    patients : pandas.DataFrame
        As `describe_patients` returns them, indexed by patient key.
    subsets : pandas.Series of str
        Subset by patient key.
    """
    images = boxes[["image_key", "patient_key"]].drop_duplicates().sort_values("image_key")
    return images.assign(
        subset=images["patient_key"].map(subsets),
        stratum=images["patient_key"].map(patients["stratum"]),
    ).reset_index(drop=True)


def read_subsets(path: Path, patients: pd.DataFrame) -> "pd.Series[str]":
    """Return the subset of each patient from a split made elsewhere.

    Parameters
    ----------
    path : Path
        The config key ``split.file``: a table with the columns `patient_key` and `subset`.
    patients : pandas.DataFrame
        As `describe_patients` returns them.

    Raises
    ------
    UserError
        If the table does not give one subset to each labelled patient and to no one else; if a
        subset is empty; or if a test patient lacks one of L1-L4.
    """
    table = _read_import(path)
    _refuse(table, ~table["subset"].isin(SUBSETS), f"one of {', '.join(SUBSETS)}", "another subset")
    _refuse(table, table["patient_key"].duplicated(), "each patient once", "one named before")
    unknown = ~table["patient_key"].isin(patients.index)
    _refuse(table, unknown, "a patient of labels.csv", f"an unknown one ({unknown.sum()} in all)")
    incomplete = table["patient_key"].map(~patients["complete"])
    untestable = (table["subset"] == "test") & incomplete
    _refuse(table, untestable, "test patients with all of L1-L4", "one that lacks a level")
    absent = patients.index.difference(pd.Index(table["patient_key"]))
    if len(absent):
        raise UserError(
            _IMPORT_NAME,
            expected=f"a subset for each of the {len(patients)} patients of labels.csv",
            came=f"none for {len(absent)} of them, such as {absent[0]}",
            remedy="add a row for each",
        )
    empty = [name for name in SUBSETS if name not in set(table["subset"])]
    if empty:
        raise UserError(
            _IMPORT_NAME,
            expected=f"patients in each of {', '.join(SUBSETS)}",
            came=f"none in {' and '.join(empty)}",
            remedy="move some there",
        )
    return table.set_index("patient_key")["subset"]


def _read_import(path: Path) -> pd.DataFrame:
    """Return the two columns of the table, by the number of the row in a spreadsheet."""
    if not path.is_file():
        raise UserError(
            _IMPORT_NAME,
            expected="a CSV file or workbook",
            came="no file",
            remedy="correct the path",
        )
    rows = read_table(path, _IMPORT_COLUMNS)
    cells = [[row.cells[name] for name in _IMPORT_COLUMNS] for row in rows]
    numbers = pd.Index([row.number for row in rows], dtype=int)
    return pd.DataFrame(cells, index=numbers, columns=_IMPORT_COLUMNS, dtype=str)


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool]", expected: str, came: str) -> None:
    """Raise if any row is `wrong`; the message counts rows as a spreadsheet does."""
    if wrong.any():
        row = table.index[wrong][0]
        raise UserError(
            f"{_IMPORT_NAME} row {row}", expected=expected, came=came, remedy="correct the row"
        )


if __name__ == "__main__":
    run(split_cohort)
