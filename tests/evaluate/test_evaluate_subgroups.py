import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.made_index import cohort, key
from support.random_scenes import make_scene

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.metrics import comparison_statistics
from dsnet.evaluate.scene import Scene
from dsnet.evaluate.subgroups import (
    HIDDEN,
    STATISTICS,
    group_rows,
    patient_traits,
    scene_of_patients,
)

FEW = Evaluate(bootstrap=100, permutations=100)
HERE, THERE = [0, 0, 10, 10], [20, 20, 30, 30]
POINT = {"iou": 0.5, "score": 0.5, "rule": "mean_probability"}
SURE = ([0.05, 0.9, 0.03, 0.02], [0.05, 0.02, 0.9, 0.03], [0.05, 0.02, 0.03, 0.9])


def twelve() -> Scene:
    """Return twelve patients with a slice each; the last four are graded as the next class."""
    truths = [(image, HERE, image % 3, 0) for image in range(12)]
    detections = []
    for image in range(12):
        label = (image % 3 + (image >= 8)) % 3
        detections.append((image, HERE, label, SURE[label]))
    return make_scene(list(range(12)), truths, detections)


def traits_of(scene: Scene, **columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=list(scene.patient_keys))


def test_a_part_of_the_patients_is_evaluated_as_if_there_were_no_others() -> None:
    truths = [(0, HERE, 0, 0), (1, THERE, 1, 1), (2, HERE, 2, 0), (3, HERE, 1, 2)]
    detections = [
        (0, HERE, 0, SURE[0]),
        (1, THERE, 1, SURE[1]),
        (2, HERE, 1, SURE[1]),
        (3, HERE, 1, SURE[1]),
        (3, THERE, 2, SURE[2]),
    ]
    scene = make_scene([0, 1, 1, 2], truths, detections)
    part = scene_of_patients(scene, np.array([False, True, True]))
    alone = make_scene(
        [0, 0, 1],
        [(image - 1, *rest) for image, *rest in truths[1:]],
        [(image - 1, *rest) for image, *rest in detections[1:]],
    )
    assert len(part.patient_keys) == 2
    one, other = (comparison_statistics(each, np.ones((1, 2)), **POINT) for each in (part, alone))
    assert {name: float(value[0]) for name, value in one.items()} == pytest.approx(
        {name: float(value[0]) for name, value in other.items()}, nan_ok=True
    )


def test_shares_of_a_group_have_the_exact_interval_of_its_own_patients() -> None:
    scene = twelve()
    traits = traits_of(scene, vendor=["ge"] * 8 + ["siemens"] * 4)
    rows = {row["group"]: row for row in group_rows([scene], traits, FEW, 0)}
    assert [rows[name]["group_patients"] for name in ("all", "ge", "siemens")] == ["12", "8", "4"]
    assert rows["ge"]["patient_accuracy"] == 100
    assert rows["siemens"]["patient_accuracy"] == 0
    for group, hits, count in (("all", 8, 12), ("ge", 8, 8), ("siemens", 0, 4)):
        exact = stats.binomtest(hits, count).proportion_ci(0.95, "exact")
        low, high = rows[group]["patient_accuracy_low"], rows[group]["patient_accuracy_high"]
        assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high), abs=0.01)


def test_small_groups_are_hidden_with_what_they_follow_from() -> None:
    scene = twelve()
    traits = traits_of(scene, sex=["female"] * 7 + ["male"] * 3 + ["unknown"] * 2)
    rows = {row["group"]: row for row in group_rows([scene], traits, FEW, 5)}
    assert rows["female"]["group_patients"] == "7"
    for name in ("male", "unknown"):
        assert rows[name]["group_patients"] == HIDDEN
        assert not set(STATISTICS) & set(rows[name])


def test_traits_are_of_patients() -> None:
    index, _ = cohort(
        {"patient": 0, "tube_voltage_kv": 100.0, "slice_thickness_mm": 1.0},
        {"patient": 0, "tube_voltage_kv": 120.0, "slice_thickness_mm": 1.0},
        {"patient": 1, "tube_voltage_kv": np.nan, "slice_thickness_mm": 2.5, "kernel": ""},
        {"patient": 2, "slice_thickness_mm": 7.0},
    )
    labels = index[["file_key", "image_key"]].iloc[:3]
    people = pd.DataFrame(
        {
            "patient_key": [key("P", patient) for patient in range(2)],
            "in_clinical": [True, False],
            "sex": ["female", ""],
            "age": pd.array([67, None], dtype="Int64"),
        }
    )
    traits = patient_traits(index["image_key"], labels, index, people)
    assert traits.to_dict("list") == {
        "sex": ["female", "unknown"],
        "age": ["60 to 69", "unknown"],
        "vendor": ["ge", "ge"],
        "kernel": ["ge BONE", "ge unknown"],
        "slice thickness": ["1 mm or less", "over 2 to 3 mm"],
        "tube voltage": ["several", "unknown"],
    }
    bare = patient_traits(index["image_key"], labels, index, people.assign(in_clinical=False))
    assert "sex" not in bare
