"""The tables that training reads and writes, and what all schemas share.

Apart from the other tables, so that a change of these trains nothing again (docs/adr/0006).
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.errors
import pandera.pandas as pa

from dsnet.errors import UserError
from dsnet.files import write_csv, write_parquet

CLASSES = ("normal", "osteopenia", "osteoporosis")
"""WHO classes in the order of their index; index 0 of a detector is the background."""

LEVELS = ("L1", "L2", "L3", "L4")
"""Lumbar levels that DXA measures."""

SUBSETS = ("train", "validation", "test")

SCORE_FLOOR = 0.001
"""Detections of lower probability are dropped (docs/interpretations.md#16b)."""

MAX_DETECTIONS = 100
"""Detections kept of an image, and counted of an image and class: the best (COCO's ``maxDets``)."""

SUPPRESSION_IOU = 0.5
"""Non-maximum suppression: of two boxes that overlap more, the one of lower score is dropped
(torchvision's ``box_nms_thresh``)."""

LEAKY = "LEAKY"
"""What every file and table says that depends on a split by image."""

FILE_KEY, IMAGE_KEY, SERIES_KEY, STUDY_KEY, PATIENT_KEY = (
    f"{letter}-[0-9a-f]{{16}}" for letter in "FISEP"
)
"""Patterns of the pseudonyms."""

DECIMAL = r"-?\d+(\.\d+)?"


def text_column(pattern: str = "", *, blank: bool = False) -> pa.Column:
    """Return a text column; cells match `pattern` whole if it is given, or are empty if `blank`."""
    if pattern:
        checks = [pa.Check.str_matches(rf"^(?:{pattern}{'|' if blank else ''})\Z")]
    else:
        checks = [] if blank else [pa.Check.str_length(min_value=1)]
    return pa.Column(str, checks, nullable=False)


def word_column(*words: str, blank: bool = False) -> pa.Column:
    """Return a text column of the given words."""
    return pa.Column(str, pa.Check.isin([*words, ""] if blank else list(words)), nullable=False)


def table(
    name: str,
    columns: dict[str, pa.Column],
    *,
    unique: Sequence[str] = (),
    ordered: bool = True,
) -> pa.DataFrameSchema:
    """Return the schema of a table with these columns and no others.

    Parameters
    ----------
    name : str
        Of its file.
    columns : dict of Column
    unique : sequence of str
        Columns in which each two rows differ.
    ordered : bool
        Whether the columns stand in this order.
    """
    return pa.DataFrameSchema(
        columns, name=name, strict=True, ordered=ordered, unique=list(unique) or None
    )


NUMBER = pa.Column(float, nullable=True)
COUNT = pa.Column("Int64", nullable=True)
FLAG = pa.Column(bool)
EDGE_PX = pa.Column(float, nullable=False)

BOX = ("x_min", "y_min", "x_max", "y_max")
"""Box edges in pixels: pixel i covers [i, i + 1), so a COCO box x, y, w, h has the edges
x, y, x + w, y + h; x runs along a row (columns), y down the rows."""

SPLIT = table(
    "split.csv",
    unique=["image_key"],
    columns={
        # In a split by image alone (split.unit): the mark of what measures leakage.
        "leaky": pa.Column(str, pa.Check.eq(LEAKY), required=False),
        "image_key": text_column(IMAGE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "subset": word_column(*SUBSETS),
        # The patient's class, by which the split was stratified.
        "stratum": word_column(*CLASSES),
    },
)


def is_leaky(split: pd.DataFrame) -> bool:
    """Return whether a table under `SPLIT` is a split by image, in which patients are shared."""
    return "leaky" in split.columns


SLICES = table(
    "slices.csv",
    unique=["image_key", "level"],
    columns={
        # Row of the store; one image may hold several boxes.
        "row": pa.Column(int, pa.Check.ge(0)),
        "image_key": text_column(IMAGE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "level": word_column(*LEVELS),
        # On the store's grid.
        **dict.fromkeys(BOX, EDGE_PX),
        "label": word_column(*CLASSES),
    },
)

NEGATIVES = table(
    "negatives.csv",
    unique=["image_key"],
    # Slices that are known to show no body of L1 to L4, in the order of their store.
    columns={
        "row": pa.Column(int, pa.Check.ge(0)),
        "image_key": text_column(IMAGE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "subset": word_column(*SUBSETS),
        # The levels annotated on it, or "off the mask".
        "reason": text_column(),
    },
)

HISTORY = table(
    "history.csv",
    unique=["epoch"],
    # One row per epoch of one training; losses are means over its batches.
    columns={
        "epoch": pa.Column(int, pa.Check.ge(1)),
        "loss": NUMBER,
        "loss_classifier": NUMBER,
        "loss_box_reg": NUMBER,
        "loss_objectness": NUMBER,
        "loss_rpn_box_reg": NUMBER,
        # Three-class AP50 and AP50 of the box alone; empty where the epoch was not validated.
        "validation_map": NUMBER,
        "validation_box_ap50": NUMBER,
        # At the epoch's last step.
        "learning_rate": NUMBER,
        "seconds": NUMBER,
    },
)

PREDICTIONS = table(
    "predictions.parquet",
    columns={
        "image_key": text_column(IMAGE_KEY),
        # On the store's grid.
        **dict.fromkeys(BOX, EDGE_PX),
        "label": word_column(*CLASSES),
        # The probability of `label`.
        "score": pa.Column(float, pa.Check.in_range(0, 1)),
        "p_background": pa.Column(float, pa.Check.in_range(0, 1)),
        **{f"p_{name}": pa.Column(float, pa.Check.in_range(0, 1)) for name in CLASSES},
    },
)


def write(schema: pa.DataFrameSchema, frame: pd.DataFrame, path: Path) -> None:
    """Check `frame` against `schema` and write it whole, as CSV or Parquet by `path`'s suffix."""
    checked = check(schema, frame)
    if path.suffix == ".csv":
        write_csv(path, checked)
    else:
        write_parquet(path, checked)


def read(schema: pa.DataFrameSchema, path: Path) -> pd.DataFrame:
    """Read a table that an earlier step wrote, and check it.

    Raises
    ------
    UserError
        If the file is missing, or holds something else than that step writes.
    """
    if not path.exists():
        raise UserError(
            str(path),
            expected="the table of an earlier step",
            came="no file",
            remedy="run the workflow, which makes it first",
        )
    frame = _read_csv(schema, path) if path.suffix == ".csv" else pd.read_parquet(path)
    return check(schema, frame)


def _read_csv(schema: pa.DataFrameSchema, path: Path) -> pd.DataFrame:
    """Return the cells as the types of `schema`, also where a column or the table is blank."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    blank = {name: [""] for name, column in schema.columns.items() if not _is_text(column)}
    try:
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=blank)
    except ValueError as error:  # other bytes, rows of unlike length, a cell of another type
        raise UserError(
            str(schema.name),
            expected="the table of an earlier step",
            came="something else",
            remedy="delete it and run the workflow, which makes it",
        ) from error


def _is_text(column: pa.Column) -> bool:
    return "str" in str(column.dtype)


def check(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the types of `schema`.

    Raises
    ------
    UserError
        If they are none of this table.
    """
    try:
        return schema.validate(frame, lazy=False)
    except pandera.errors.SchemaError as error:
        check = getattr(error, "check", None)
        raise UserError(
            str(schema.name),
            expected=f"rows that pass {check}",
            came=f"a row or column that does not ({error.reason_code})",
            remedy="delete it and run the workflow, and report this if it comes back",
        ) from error
