from pathlib import Path

import pytest
from support.made_index import cohort

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.files import read_json
from dsnet.split.external import take_whole


def write(folder: Path, *, shared: bool) -> dict[str, Path]:
    """Write an external cohort of two patients, and an internal one that may share an image."""
    files, _ = cohort({"patient": 1}, {"patient": 1}, {"patient": 2})
    internal, _ = cohort({"patient": 3, "pixel_hash": f"{1 if shared else 77:032x}"})
    labels = files[["image_key", "file_key", "patient_key", "study_key"]].assign(
        level=["L1", "L2", "L1"],
        x_min=1.0,
        y_min=1.0,
        x_max=2.0,
        y_max=2.0,
        t_score="-1.2",
        label=["osteopenia", "osteopenia", "normal"],
    )
    paths = {name: folder / f"{name}.csv" for name in ("labels", "split")}
    paths |= {name: folder / f"{name}.parquet" for name in ("index", "internal")}
    schemas.write(schemas.LABELS, labels, paths["labels"])
    schemas.write(schemas.INDEX, files, paths["index"])
    schemas.write(schemas.INDEX, internal, paths["internal"])
    return {**paths, "proof": folder / "split_proof.json"}


def test_every_patient_is_tested_regardless_of_levels(tmp_path: Path) -> None:
    paths = write(tmp_path, shared=False)
    take_whole(params=Split(), **paths)
    split = schemas.read(schemas.SPLIT, paths["split"])
    assert set(split["subset"]) == {"test"}
    assert split.groupby("patient_key")["stratum"].first().tolist() == ["osteopenia", "normal"]
    proof = read_json(paths["proof"])
    assert proof["source"] == "external"
    assert proof["internal"] == {"images_compared": 1, "shared_pixel_hashes": 0}
    assert proof["distinct"]["patient"] == {"train": 0, "validation": 0, "test": 2}


def test_an_image_of_the_internal_cohort_stops(tmp_path: Path) -> None:
    paths = write(tmp_path, shared=True)
    with pytest.raises(UserError, match="1 with the pixels of an internal one"):
        take_whole(params=Split(), **paths)
    assert not paths["split"].exists()
