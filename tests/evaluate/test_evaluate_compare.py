from pathlib import Path

import pandas as pd
import pytest
from support.random_scenes import right_and_wrong, to_tables

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.compare import COLUMNS, compare, pairs
from dsnet.step import run

FEW = Evaluate(bootstrap=100, permutations=400)


def test_pairs_stay_within_a_backbone() -> None:
    variants = ["resnet50/none", "resnet50/ds", "vgg16/none", "vgg16/ds"]
    assert pairs(variants) == [("resnet50/ds", "resnet50/none"), ("vgg16/ds", "vgg16/none")]
    with pytest.raises(UserError, match=r"--variants: expected vgg16/none"):
        pairs(["resnet50/none", "vgg16/ds"])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    scenes = dict(zip(("se", "none"), right_and_wrong(6), strict=True))
    for attention, scene in scenes.items():
        detected, drawn, parts = to_tables(scene)
        for seed in (0, 1):
            folder = tmp_path / "predictions" / "resnet50" / attention / f"seed{seed}"
            schemas.write(schemas.PREDICTIONS, detected, folder / "test.parquet")
    schemas.write(schemas.SLICES, drawn, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, parts, tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    names = {"boxes": "slices.csv", "split": "split.csv", "digest": "slices.json"}
    made = {"predictions": "predictions", "differences": "differences.csv", **names}
    return {flag: tmp_path / name for flag, name in made.items()}


def test_the_step_writes_percent_points(files: dict[str, Path]) -> None:
    words = [word for flag, path in files.items() for word in (f"--{flag}", str(path))]
    variants = "resnet50/none,resnet50/se"
    settings = ["--params", FEW.model_dump_json(), "--variants", variants, "--seeds", "0,1"]
    run(compare, [*settings, *words])
    table = pd.read_csv(files["differences"])
    assert tuple(table.columns) == COLUMNS
    row = table.set_index("statistic").loc["map"]
    assert (row["backbone"], row["attention"], row["seeds"]) == ("resnet50", "se", 2)
    assert (row["difference"], row["test_patients"]) == (100, 6)
    assert row["p"] == row["p_holm"]
    assert "synthetic" in row["data"]


def test_missing_predictions_are_named(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"seed7.*no file"):
        compare(params=FEW, variants="resnet50/none", seeds="7", **files)
