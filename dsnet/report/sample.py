"""Which images are drawn: few, by a rule that anybody can follow, and that no secret key moves."""

import numpy as np
import pandas as pd

RULE = (
    "Criteria take turns, images included and images flagged for review counting as two more; "
    "within one, patients take turns in the order of the ledger; of a patient, the middle image "
    "comes first."
)

_FLAGGED = "flagged"


def choose(ledger: pd.DataFrame, drawable: "pd.Series[bool]", number: int) -> list[int]:
    """Return the positions in the ledger of at most `number` images, in the order of `RULE`.

    Parameters
    ----------
    ledger : DataFrame
        `dsnet.schemas.LEDGER`, numbered from 0.
    drawable : Series of bool
        Whether an image may, and can, be shown.
    number : int
    """
    rows = ledger.loc[drawable, ["patient_key", "criterion", "all_criteria"]]
    flagged = (rows["criterion"] == "") & (rows["all_criteria"] != "")
    rows = rows.assign(kind=rows["criterion"].mask(flagged, _FLAGGED))
    own = rows.groupby(["kind", "patient_key"], sort=False)
    size = own["kind"].transform("size")
    from_middle = np.abs(2 * own.cumcount() - (size - 1))
    rows = rows.assign(patient=own.ngroup(), from_middle=from_middle)
    rows = rows.sort_values(["from_middle", "patient"], kind="stable")
    rows["turn"] = rows.groupby("patient").cumcount()
    rows = rows.sort_values(["turn", "patient"], kind="stable")
    rows["turn"] = rows.groupby("kind").cumcount()
    rows = rows.sort_values(["turn", "kind"], kind="stable")
    return [int(position) for position in rows.index[:number]]
