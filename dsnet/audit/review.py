"""The images that a reader should look at, as a table ready to become ``review.csv``."""

from pathlib import Path

import pandas as pd

from dsnet.errors import UserError
from dsnet.files import write_csv
from dsnet.results import Results

COLUMNS = ("scope", "id", "decision", "code", "reason", "reviewer", "date", "patient_key")
"""Those of ``review.csv`` (decision, reviewer and date are for the reader), and the patient."""

_FLAG = "?"


def write_review_list(output: Path, results: Results, detector: str, *, score: float) -> int:
    """Write `review_list` of the results and return its number of rows.

    Parameters
    ----------
    output : Path
        CSV to write.
    results : Results
        The ledger, and if there are any, the checks of boxes and the detections on the validation
        and test subsets.
    detector : str
        ``backbone/attention/seedN``.
    score : float
        A detection below it is unsure.

    Raises
    ------
    UserError
        If there is no ledger, or `output` exists: it may hold a reader's work.
    """
    if output.exists():
        raise UserError(
            str(output),
            expected="a new file",
            came="one that exists and may hold decisions",
            remedy="rename it, or give another --output",
        )
    doubts = pd.concat([little_bone(results), unsure(results, detector, score=score)])
    rows = review_list(results.ledger, doubts)
    write_csv(output, rows)
    return len(rows)


def review_list(ledger: pd.DataFrame, doubts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per included file that a rule or a check flagged, or a detector is unsure of.

    Parameters
    ----------
    ledger : DataFrame
        `dsnet.schemas.LEDGER`.
    doubts : DataFrame
        As `little_bone` and `unsure` return them.

    Returns
    -------
    DataFrame
        The columns `COLUMNS`, in the order of patient and file; ``reason`` says why.
    """
    included = ledger[(ledger["status"] == "included")]
    flagged = included[included["all_criteria"].str.contains(_FLAG, regex=False)]
    codes = flagged["all_criteria"].str.replace(_FLAG, "", regex=False)
    rules = flagged.assign(code=codes, reason=flagged["evidence"])
    doubtful = included.drop(columns=["code", "reason"]).merge(doubts, on="image_key")
    both = pd.concat([rules, doubtful])[["patient_key", "file_key", "code", "reason"]]
    rows = both.groupby(["patient_key", "file_key"], as_index=False)[["code", "reason"]].agg(
        "; ".join
    )
    rows = rows.assign(scope="file", id=rows["file_key"], decision="", reviewer="", date="")
    return rows[list(COLUMNS)]


def little_bone(results: Results) -> pd.DataFrame:
    """Return the boxes in which too little is bone for any vertebral body.

    Parameters
    ----------
    results : Results
        No box was checked before the slices were stored.

    Returns
    -------
    DataFrame
        ``image_key``, ``code`` and ``reason``.
    """
    if not (results.cohort / "box_checks.csv").exists():
        return pd.DataFrame(columns=["image_key", "code", "reason"], dtype=str)
    flagged = results.box_checks[results.box_checks["flag"] != ""]
    measured = zip(flagged["bone_fraction"], flagged["level"], strict=True)
    reasons = [f"{bone:.1%} bone in the box of {level}" for bone, level in measured]
    return flagged[["image_key"]].assign(code=flagged["flag"], reason=reasons).astype(str)


def unsure(results: Results, detector: str, *, score: float) -> pd.DataFrame:
    """Return the images whose surest detection stays below `score`.

    Parameters
    ----------
    results : Results
    detector : str
        ``backbone/attention/seedN``; no image is unsure before it was run.
    score : float
        In [0, 1].

    Returns
    -------
    DataFrame
        ``image_key``, ``code`` and ``reason``.
    """
    folder = results.folder / "predictions" / detector
    subsets = [name for name in ("validation", "test") if (folder / f"{name}.parquet").exists()]
    if not subsets:
        return pd.DataFrame(columns=["image_key", "code", "reason"], dtype=str)
    detections = pd.concat([results.predictions(detector, subset) for subset in subsets])
    images = results.split.loc[results.split["subset"].isin(subsets), "image_key"]
    best = detections.groupby("image_key")["score"].max().reindex(images, fill_value=0.0)
    low = best[best < score]
    reasons = [f"surest detection {value:.2f}" if value else "nothing detected" for value in low]
    table = {"image_key": low.index.astype(str), "code": "low_confidence", "reason": reasons}
    return pd.DataFrame(table, dtype=str)
