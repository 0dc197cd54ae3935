from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import once, random_scene, scenes, to_tables, with_box_each

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.compare import COLUMNS, compare, holm, pairs
from dsnet.evaluate.metrics import DEFINITIONS, PRIMARY, comparison_statistics, statistics
from dsnet.evaluate.scene import Scene, best_first
from dsnet.step import run

FEW = Evaluate(bootstrap=100, permutations=100)
POINT = {"iou": 0.5, "score": 0.5, "rule": "mean_probability"}
VARIANTS = ("resnet50/none", "resnet50/se", "resnet50/ds")
SEEDS = (3, 5, 8)


def test_pairs_stay_within_a_backbone() -> None:
    variants = ["resnet50/none", "resnet50/ds", "vgg16/none", "vgg16/ds"]
    assert pairs(variants) == [("resnet50/ds", "resnet50/none"), ("vgg16/ds", "vgg16/none")]
    with pytest.raises(UserError, match=r"--variants: expected vgg16/none"):
        pairs(["resnet50/none", "vgg16/ds"])


def trained(variant: str, seed: int) -> Scene:
    """Return what one training detects on the same 24 images; some boxes swap their places."""
    scene = with_box_each(random_scene(1, 24, 8), 1)
    detections = scene.detections
    order = np.arange(len(detections.image))
    moved = np.random.default_rng([seed, VARIANTS.index(variant)]).permutation(len(order))[:30]
    order[moved] = order[np.roll(moved, 1)]
    other = replace(detections, box=detections.box[order], label=detections.label[order])
    return replace(scene, detections=best_first(other))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compare")
    for variant in VARIANTS:
        for seed in SEEDS:
            predictions, boxes, split = to_tables(trained(variant, seed))
            path = folder / "predictions" / variant / f"seed{seed}" / "test.parquet"
            schemas.write(schemas.PREDICTIONS, predictions, path)
    schemas.write(schemas.SLICES, boxes, folder / "slices.csv")
    schemas.write(schemas.SPLIT, split, folder / "split.csv")
    (folder / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    names = {"boxes": "slices.csv", "split": "split.csv", "digest": "slices.json"}
    made = {"predictions": "predictions", "differences": "differences.csv", **names}
    return {flag: folder / name for flag, name in made.items()}


def compared(files: dict[str, Path], *seeds: int) -> pd.DataFrame:
    words = ["--params", FEW.model_dump_json()]
    words += [word for variant in VARIANTS for word in ("--variants", variant)]
    words += [word for seed in seeds for word in ("--seeds", str(seed))]
    words += [word for flag, path in files.items() for word in (f"--{flag}", str(path))]
    run(compare, argv=words)
    return pd.read_csv(files["differences"])


def test_several_seeds_test_modules_on_the_primary_statistic_alone(
    files: dict[str, Path],
) -> None:
    table = compared(files, *SEEDS)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 7
    assert table.loc[table["role"] == "primary", "statistic"].unique().tolist() == [PRIMARY]
    assert (table["p_holm"].notna() == (table["role"] == "primary")).all()
    assert table.loc[table["statistic"].isin(["map", "recall"]), "p"].notna().all()
    primary = table[table["role"] == "primary"]
    assert primary["p_holm"].tolist() == pytest.approx(holm(primary["p"]).tolist())
    assert table["scope"].unique().tolist() == ["patients and trainings (3 seeds)"]
    assert (table["seeds"] == 3).all()
    assert table["data"].str.contains("synthetic").all()


def test_the_difference_is_the_mean_over_pairs_of_seeds_in_points(files: dict[str, Path]) -> None:
    table = compared(files, *SEEDS).set_index(["attention", "statistic"])
    for attention in ("se", "ds"):
        by_seed = []
        for seed in SEEDS:
            own, none = (trained(f"resnet50/{name}", seed) for name in (attention, "none"))
            values = (comparison_statistics(each, once(each), **POINT) for each in (own, none))
            first, second = (each[PRIMARY][0] for each in values)
            by_seed.append(first - second)
        row = table.loc[(attention, PRIMARY)]
        assert row["difference"] == pytest.approx(100 * mean(by_seed), abs=1e-4)
        assert row["low"] < row["difference"] < row["high"]
        assert row["test_patients"] == len(own.patient_keys)


def test_one_seed_makes_no_claim_about_modules(files: dict[str, Path]) -> None:
    table = compared(files, 5)
    assert table[["p", "p_holm"]].isna().all(axis=None)
    assert table["scope"].unique().tolist() == ["patients; these two trainings"]
    primary = table[table["role"] == "primary"]
    assert primary["difference"].notna().all()
    assert (primary["low"] < primary["high"]).all()


def test_missing_predictions_are_named(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"seed7.*no file"):
        compare(params=FEW, variants=["resnet50/none"], seeds=[7], **files)


def test_no_attention_leaves_an_empty_table(files: dict[str, Path]) -> None:
    compare(params=FEW, variants=["resnet50/none"], seeds=[3], **files)
    table = pd.read_csv(files["differences"])
    assert (tuple(table.columns), len(table)) == (COLUMNS, 0)


@settings(deadline=None, max_examples=10)
@given(scenes(most_detections=6), st.integers(0, 1000))
def test_detectors_are_compared_by_the_statistics_of_the_tables(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    few = comparison_statistics(scene, once(scene), **POINT)
    every = statistics(scene, once(scene), iou=0.5, score=0.5)
    assert next(iter(few)) == PRIMARY
    assert set(few) <= set(DEFINITIONS)
    for name, value in few.items():
        np.testing.assert_array_equal(value, every[name], err_msg=name)


def test_holm_by_hand() -> None:
    p = pd.Series([0.04, 0.01, np.nan, 0.03, 0.5])
    # 4 * 0.01, 3 * 0.03, then 2 * 0.04 is raised to 0.09.
    expected = pd.Series([0.09, 0.04, np.nan, 0.09, 0.5])
    pd.testing.assert_series_equal(holm(p), expected)
    assert holm(pd.Series([0.6, 0.9])).tolist() == [1, 1]
