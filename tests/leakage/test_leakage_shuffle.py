import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.leakage.shuffle import shuffled
from dsnet.schemas import CLASSES, LEVELS

PATIENTS = st.lists(
    st.tuples(
        st.sampled_from(CLASSES),
        st.lists(st.sampled_from(LEVELS), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=12,
)


def boxes(patients: list[tuple[str, list[str]]]) -> pd.DataFrame:
    rows = [
        (f"P-{number}", level, label)
        for number, (label, levels) in enumerate(patients)
        for level in levels
    ]
    return pd.DataFrame(rows, columns=["patient_key", "level", "label"])


@settings(deadline=None, max_examples=30)
@given(PATIENTS, st.integers(0, 2**32 - 1))
def test_patients_stay_whole_and_classes_keep_their_number(
    patients: list[tuple[str, list[str]]], seed: int
) -> None:
    rows = boxes(patients)
    lot = rows.assign(label=shuffled(rows, np.random.default_rng(seed)))
    by_patient = lot.groupby("patient_key")["label"]
    assert by_patient.nunique().eq(1).all()
    before = rows.groupby("patient_key")["label"].first().value_counts()
    assert by_patient.first().value_counts().to_dict() == before.to_dict()


def test_levels_move_as_one_profile_and_gaps_take_the_nearest() -> None:
    whole = [("P-a", level, "normal" if level < "L3" else "osteopenia") for level in LEVELS]
    part = [("P-b", "L3", "osteoporosis")]
    rows = pd.DataFrame(whole + part, columns=["patient_key", "level", "label"])
    seen = set()
    for seed in range(20):
        lot = shuffled(rows, np.random.default_rng(seed)).tolist()
        seen.add(tuple(lot))
    kept = (*["normal"] * 2, *["osteopenia"] * 2, "osteoporosis")
    assert seen == {kept, (*["osteoporosis"] * 4, "osteopenia")}
