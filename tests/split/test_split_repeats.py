import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.files import sha256, write_json
from dsnet.schemas import CLASSES
from dsnet.split.repeats import vary
from dsnet.split.step import split_cohort


@pytest.fixture
def paths(make_tables: Callable[..., Any], tmp_path: Path) -> dict[str, Path]:
    """Return the files of a cohort of ten patients of each class that was split."""
    made = make_tables((10, 10, 10))
    given = {"labels": tmp_path / "labels.csv", "index": tmp_path / "index.parquet"}
    schemas.write(schemas.LABELS, made.boxes, given["labels"])
    schemas.write(schemas.INDEX, made.files, given["index"])
    split = tmp_path / "split.csv"
    split_cohort(params=Split(), **given, split=split, proof=tmp_path / "proof.json")
    write_json(tmp_path / "slices.json", {"cohort": "made", "split_sha256": sha256(split)})
    return {**given, "split": split, "digest": tmp_path / "slices.json"}


def varied(paths: dict[str, Path], variation: str, folder: Path) -> pd.DataFrame:
    made = {"varied_split": folder / "split.csv", "varied_digest": folder / "slices.json"}
    vary(params=Split(), variation=variation, **paths, **made)
    facts = json.loads(made["varied_digest"].read_text(encoding="utf-8"))
    assert facts == {"cohort": "made", "split_sha256": sha256(made["varied_split"])}
    return schemas.read(schemas.SPLIT, made["varied_split"])


def patients(split: pd.DataFrame, subset: str) -> set[str]:
    return set(split.loc[split["subset"] == subset, "patient_key"])


def test_a_repeat_is_the_split_of_another_seed(paths: dict[str, Path], tmp_path: Path) -> None:
    own = schemas.read(schemas.SPLIT, paths["split"])
    other = varied(paths, "split2", tmp_path / "2")
    assert sorted(other["image_key"]) == sorted(own["image_key"])
    assert patients(other, "test") != patients(own, "test")
    assert len(patients(other, "test")) == len(patients(own, "test"))
    assert not patients(other, "test") & patients(other, "train")
    again = {"split": tmp_path / "again.csv", "proof": tmp_path / "again.json"}
    given = {name: paths[name] for name in ("labels", "index")}
    split_cohort(params=Split(seed=2), **given, **again)
    assert other.equals(schemas.read(schemas.SPLIT, again["split"]))


def test_shares_of_the_training_patients_nest(paths: dict[str, Path], tmp_path: Path) -> None:
    own = schemas.read(schemas.SPLIT, paths["split"])
    sizes, before = [], set()
    for share in (1, 25, 50, 75):
        fewer = varied(paths, f"share{share}", tmp_path / str(share))
        for subset in ("validation", "test"):
            assert patients(fewer, subset) == patients(own, subset)
        training = patients(fewer, "train")
        assert before <= training <= patients(own, "train")
        assert set(fewer.loc[fewer["subset"] == "train", "stratum"]) == set(CLASSES)
        sizes.append(len(training))
        before = training
    whole = len(patients(own, "train"))
    assert sizes[0] == len(CLASSES)
    assert sizes == sorted(sizes)
    assert abs(sizes[2] - whole / 2) <= len(CLASSES) / 2


def test_a_split_by_image_is_not_repeated(paths: dict[str, Path], tmp_path: Path) -> None:
    given = {name: paths[name] for name in ("labels", "index")}
    by_image = Split(unit="image")
    split_cohort(params=by_image, **given, split=paths["split"], proof=tmp_path / "proof.json")
    with pytest.raises(UserError, match=r"a split by image; set split\.unit to patient"):
        varied(paths, "split1", tmp_path / "1")
