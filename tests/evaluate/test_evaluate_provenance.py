import hashlib
import json
from pathlib import Path

import pytest
from support.random_scenes import random_scene, to_tables, with_box_each

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.evaluate.provenance import read_grid, read_provenance

FACTS = {"cohort": "made up", "synthetic": True, "size_px": 64, "pixel_mm": 2}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    _, _, split = to_tables(with_box_each(random_scene(1, 3, 0), 1))
    schemas.write(schemas.SPLIT, split, tmp_path / "split.csv")
    leaky = split.assign(leaky=schemas.LEAKY)[["leaky", *split]]
    schemas.write(schemas.SPLIT, leaky, tmp_path / "leaky.csv")
    (tmp_path / "slices.json").write_text(json.dumps(FACTS))
    return tmp_path / "slices.json", tmp_path / "split.csv"


def test_says_what_the_numbers_are_made_from(files: tuple[Path, Path]) -> None:
    digest, split = files
    expected = {
        "cohort": "made up",
        "synthetic": True,
        "leaky": False,
        "slices_sha256": hashlib.sha256(digest.read_bytes()).hexdigest(),
    }
    assert read_provenance(digest, split) == expected
    assert read_provenance(digest, split.with_name("leaky.csv")) == {**expected, "leaky": True}
    assert read_grid(digest) == {"size_px": 64, "pixel_mm": 2.0}


def test_missing_digest(files: tuple[Path, Path]) -> None:
    with pytest.raises(
        UserError, match=r"nothing\.json: expected the JSON object of an earlier step"
    ):
        read_provenance(files[0].with_name("nothing.json"), files[1])


@pytest.mark.parametrize("key", ["size_px", "pixel_mm"])
def test_missing_key(files: tuple[Path, Path], key: str) -> None:
    facts = {name: value for name, value in FACTS.items() if name != key}
    files[0].write_text(json.dumps(facts))
    with pytest.raises(
        UserError, match=r"slices\.json: expected the JSON object of an earlier step"
    ):
        read_grid(files[0])
