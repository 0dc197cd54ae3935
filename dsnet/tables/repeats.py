"""One detector on other splits, or with fewer training patients.

``python -m dsnet.tables.repeats``. Repeated splits share patients, so that their figures depend
on each other: the standard deviation over them describes how much a split matters, and makes no
interval.
"""

from pathlib import Path
from typing import Literal

import pandas as pd

from dsnet import schemas
from dsnet.evaluate.subgroups import STATISTICS
from dsnet.files import write_csv
from dsnet.step import run
from dsnet.tables import BOUNDS, Json, read_entry

COLUMNS = (
    "method",
    "variation",
    "training_patients",
    "test_patients",
    *(f"{name}{bound}" for name in STATISTICS for bound in BOUNDS),
    "seeds",
    "data",
)


def tabulate(
    *,
    detector: str,
    variations: list[str],
    metrics: Path,
    split: Path,
    folder: Path,
    table: Path,
    summary: Literal["spread", "none"] = "none",
) -> None:
    """Write the figures of one detector, by variation.

    Parameters
    ----------
    detector : str
        ``backbone/attention``.
    variations : list of str
        As `dsnet.split.repeats.vary` names them.
    metrics, split : Path
        Folder of the metrics, and `schemas.SPLIT`, of the cohort as it is split: the first row.
    folder : Path
        Holds ``{variation}/metrics/{detector}.json`` and ``{variation}/split.csv``.
    table : Path
        CSV to write, in percent.
    summary : {"spread", "none"}
        spread: mean and standard deviation over all rows follow below.
    """
    own = [("none", metrics, split)]
    others = [(name, folder / name / "metrics", folder / name / "split.csv") for name in variations]
    rows = [_row(detector, *where) for where in own + others]
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    if summary == "spread":
        values = made[list(STATISTICS)].astype(float)
        below = {"mean": values.mean(), "standard deviation": values.std(ddof=1)}
        last = [
            {"method": detector, "variation": name, "data": made["data"][0], **figures.round(2)}
            for name, figures in below.items()
        ]
        made = pd.concat([made.astype(object), pd.DataFrame(last, dtype=object)])
    write_csv(table, made[list(COLUMNS)])


def _row(detector: str, variation: str, metrics: Path, split: Path) -> Json:
    entry = read_entry(detector, metrics)
    images = schemas.read(schemas.SPLIT, split)
    training = images.loc[images["subset"] == "train", "patient_key"]
    return {
        **entry.about,
        "method": detector,
        "variation": variation,
        "training_patients": training.nunique(),
        **entry.percents({name: name for name in STATISTICS}),
    }


if __name__ == "__main__":
    run(tabulate)
