import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from dsnet import schemas
from dsnet.config.cohort import BmdReference, Dxa, DxaReference, Slices
from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.errors import UserError
from dsnet.files import sha256
from dsnet.slices import SliceStore, step
from dsnet.slices.image import Outcome, Task
from dsnet.slices.step import store_slices
from dsnet.step import run

pytestmark = pytest.mark.slow

PARAMS = Slices(size_px=48, pixel_mm=2.0, processes=1)
MakeCohort = Callable[..., Any]


def written(paths: dict[str, Path]) -> dict[str, bytes]:
    return {name: paths[name].read_bytes() for name in ("store", "boxes", "checks", "digest")}


def test_command_line_stores_images_and_boxes(tmp_path: Path, make_cohort: MakeCohort) -> None:
    cohort = make_cohort(5)
    paths = cohort.save(tmp_path / "results")
    named = [text for name, path in paths.items() for text in (f"--{name}", str(path))]
    run(store_slices, argv=["--slices", PARAMS.model_dump_json(), "--dxa", "{}", *named])
    store = SliceStore(paths["store"], paths["boxes"])
    by_hash = cohort.index.sort_values("pixel_hash")
    assert store.image_keys == by_hash["image_key"].tolist()
    for row, image_key in enumerate(store.image_keys):
        number = int((cohort.index["image_key"] == image_key).to_numpy().argmax())
        rows, columns = np.nonzero(store.image(row) > 100)
        marker = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # The made box is half a source row taller than the marker.
        assert marker == pytest.approx(store.boxes(row)[0], abs=1.0)
        assert store.image(row).max() == 1200 + number - 1024
        assert store.labels(row).tolist() == [number % 3 + 1]
    digest = json.loads(paths["digest"].read_text(encoding="utf-8"))
    assert digest == {
        "cohort": "made",
        "synthetic": True,
        "images": 5,
        "boxes": 5,
        "labels_per_class": {"normal": 2, "osteopenia": 2, "osteoporosis": 1},
        "size_px": 48,
        "pixel_mm": 2.0,
        "store_sha256": sha256(paths["store"]),
        "boxes_sha256": sha256(paths["boxes"]),
        "split_sha256": sha256(paths["split"]),
    }


def test_other_files_and_row_order_change_no_byte(tmp_path: Path, make_cohort: MakeCohort) -> None:
    cohort = make_cohort(6)
    paths = cohort.save(tmp_path / "results")
    store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    before = written(paths)
    extra = {"file_key": "F-" + "0" * 16, "image_key": "I-" + "0" * 16}
    cohort.index = pd.concat([cohort.index, cohort.index.iloc[[0]].assign(**extra)])
    other = cohort.identities.iloc[[0]].assign(**extra)
    cohort.identities = pd.concat([cohort.identities, other]).iloc[::-1]
    cohort.index = cohort.index.iloc[::-1]
    cohort.labels = cohort.labels.sample(frac=1, random_state=0)
    store_slices(slices=PARAMS, dxa=Dxa(), **cohort.save(tmp_path / "results"))
    assert written(paths) == before


def test_the_secret_key_moves_no_image(tmp_path: Path, make_cohort: MakeCohort) -> None:
    stored = []
    for number in range(2):
        paths = make_cohort(6, number).save(tmp_path / f"results{number}")
        store_slices(slices=PARAMS, dxa=Dxa(), **paths)
        stored.append(paths)
    assert sha256(stored[0]["store"]) == sha256(stored[1]["store"])
    tables = [schemas.read(schemas.SLICES, paths["boxes"]) for paths in stored]
    keys = ["image_key", "patient_key"]
    assert not tables[0]["image_key"].equals(tables[1]["image_key"])
    pd.testing.assert_frame_equal(tables[0].drop(columns=keys), tables[1].drop(columns=keys))


def test_processes_change_no_byte(
    tmp_path: Path, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_FEW", 4)
    paths = make_cohort(20).save(tmp_path / "results")
    store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    before = written(paths)
    store_slices(slices=PARAMS.model_copy(update={"processes": 2}), dxa=Dxa(), **paths)
    assert written(paths) == before


@given(st.floats(24.001, 400.0))
def test_the_grid_that_the_remedy_names_holds_the_box(reach: float) -> None:
    """With a pixel to spare, since a larger grid may lie another fraction of a pixel off."""
    outcome = Outcome("", ((24 - reach, 20.0, 30.0, 30.0),), (1.0,))
    task = Task(0, "F-1", "", "", "", outcome.boxes)
    with pytest.raises(UserError) as caught:
        step._collect([task], [outcome], PARAMS)
    size_px = int(re.findall(r"size_px to (\d+)", str(caught.value))[0])
    assert size_px % 32 == 0
    assert size_px - 32 < 2 * reach + 2 <= size_px


def test_two_boxes_on_one_image_share_its_row(tmp_path: Path, make_cohort: MakeCohort) -> None:
    cohort = make_cohort(3)
    other = cohort.labels.iloc[[0]].assign(level="L4", y_max=28.0)
    cohort.labels = pd.concat([cohort.labels, other], ignore_index=True)
    paths = cohort.save(tmp_path / "results")
    store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    store = SliceStore(paths["store"], paths["boxes"])
    row = store.image_keys.index(cohort.labels["image_key"][0])
    assert store.levels(row) == ["L1", "L4"]
    lower = store.boxes(row)[:, 3]
    assert lower[0] - lower[1] == pytest.approx(1.5 * 2.0 / 2.0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_cut_box_is_an_error_that_names_the_file(
    tmp_path: Path, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(step, "_FEW", 4)
    cohort = make_cohort(8)
    cohort.labels.loc[5, "x_max"] = 39.51
    paths = cohort.save(tmp_path / "results")
    params = Slices(size_px=48, pixel_mm=2.0, processes=processes)
    # The body's middle is at 50 mm, and the nearest grid on source pixels ends at 98.75 mm, which
    # is 39.5 pixels of 2.5 mm.
    with pytest.raises(UserError, match=cohort.labels["file_key"][5]) as caught:
        store_slices(slices=params, dxa=Dxa(), **paths)
    assert "(so on 1 of 8 images); set slices.size_px to 64" in str(caught.value)
    assert "DOE" not in str(caught.value)
    assert not any(paths[name].exists() for name in ("store", "boxes", "checks", "digest"))
    assert not list((tmp_path / "results").rglob("*.part"))
    cohort.labels.loc[5, "x_max"] = 39.5
    store_slices(slices=params, dxa=Dxa(), **cohort.save(tmp_path / "results"))


def test_a_full_disk_is_said_before_it_kills(
    tmp_path: Path, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match="found that the disk is full"):
        store_slices(slices=PARAMS, dxa=Dxa(), **make_cohort(3).save(tmp_path / "results"))
    assert not list((tmp_path / "results").rglob("*slices.npy*"))


def test_a_changed_file_is_named_by_its_pseudonym(tmp_path: Path, make_cohort: MakeCohort) -> None:
    cohort = make_cohort(3)
    paths = cohort.save(tmp_path / "results")
    relative = cohort.identities["relative_path"]
    shutil.copy(cohort.dicom / relative[0], cohort.dicom / relative[2])
    with pytest.raises(UserError, match=f"{cohort.labels['file_key'][2]}.* pixels") as caught:
        store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    assert "DOE" not in str(caught.value)
    assert relative[2] in caught.value.private.replace("\\", "/")


def test_a_label_without_file_is_counted_as_a_spreadsheet_does(
    tmp_path: Path, make_cohort: MakeCohort
) -> None:
    cohort = make_cohort(3)
    cohort.identities = cohort.identities.drop(index=1)
    with pytest.raises(UserError, match=r"labels\.csv row 3"):
        store_slices(slices=PARAMS, dxa=Dxa(), **cohort.save(tmp_path / "results"))


def test_a_reference_of_bone_density_is_named_with_the_cohort(
    tmp_path: Path, make_cohort: MakeCohort
) -> None:
    paths = make_cohort(5).save(tmp_path / "results")
    young = BmdReference(mean_g_cm2=1.047, sd_g_cm2=0.11)
    reference = DxaReference(name="our young women", regions={"L1-L4": young})
    store_slices(slices=PARAMS, dxa=Dxa(reference=reference), **paths)
    name = json.loads(paths["digest"].read_text())["cohort"]
    assert name == "made, T-scores from BMD by our young women"


def test_another_cohorts_files_are_one_sentence(tmp_path: Path, make_cohort: MakeCohort) -> None:
    paths = make_cohort(4).save(tmp_path / "results")
    other = tmp_path / "other"
    make_cohort(2, 1).save(tmp_path / "unused")
    for number, file in enumerate((tmp_path / "cohort1" / "dicom").rglob("IM*")):
        data = dcmread(file)
        data.SOPInstanceUID = f"9.{number}"
        data.PixelData = (data.pixel_array + 7).tobytes()
        (other / "dicom").mkdir(parents=True, exist_ok=True)
        data.save_as(other / "dicom" / file.name)
    with pytest.raises(UserError, match="results of the configured cohort"):
        store_slices(slices=PARAMS, dxa=Dxa(), **{**paths, "cohort": other})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gone", "the file that ingestion read, but found none"),
        ("no_body", "nothing above -300 HU"),
        ("unusable", "one grey image in HU with a pixel spacing"),
    ],
)
def test_each_fault_has_its_sentence(
    tmp_path: Path, make_cohort: MakeCohort, write_ct: Callable[..., Path], fault: str, words: str
) -> None:
    cohort = make_cohort(3)
    file = cohort.dicom / cohort.identities["relative_path"][1]
    if fault == "gone":
        file.unlink()
    else:
        stored = np.zeros((48, 40), np.uint16)
        write_ct(file, stored, **({"PixelSpacing": None} if fault == "unusable" else {}))
        evidence = reader.read(str(file), Thresholds(2500, 1500)).evidence
        assert evidence is not None
        cohort.index.loc[1, "pixel_hash"] = evidence.pixel_hash
    with pytest.raises(UserError, match=words) as caught:
        store_slices(slices=PARAMS, dxa=Dxa(), **cohort.save(tmp_path / "results"))
    assert cohort.labels["file_key"][1] in str(caught.value)
    assert "DOE" not in str(caught.value)


def test_copies_of_one_picture_follow_one_another_by_position(
    tmp_path: Path, make_cohort: MakeCohort
) -> None:
    cohort = make_cohort(3)
    first, last = (cohort.dicom / cohort.identities["relative_path"][at] for at in (0, 2))
    shutil.copy(first, last)
    cohort.index.loc[2, "pixel_hash"] = cohort.index["pixel_hash"][0]
    cohort.index.loc[2, "position_mm"] = -5.0
    paths = cohort.save(tmp_path / "results")
    store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    keys = SliceStore(paths["store"], paths["boxes"]).image_keys
    of = cohort.index["image_key"]
    assert keys.index(of[2]) + 1 == keys.index(of[0])


def test_boxes_with_little_bone_are_flagged_and_kept(
    tmp_path: Path, make_cohort: MakeCohort
) -> None:
    cohort = make_cohort(6)
    # Beside the marker, in soft tissue; the two others lie on it.
    cohort.labels.loc[4, ["x_min", "x_max"]] = [24.0, 33.0]
    other = cohort.labels.iloc[[4]].assign(level="L2", x_min=15.0, x_max=24.0)
    cohort.labels = pd.concat([cohort.labels, other], ignore_index=True)
    paths = cohort.save(tmp_path / "results")
    store_slices(slices=PARAMS, dxa=Dxa(), **paths)
    checks = schemas.read(schemas.BOX_CHECKS, paths["checks"])
    boxes = schemas.read(schemas.SLICES, paths["boxes"])
    assert len(boxes) == 7
    assert checks[["image_key", "level"]].equals(boxes[["image_key", "level"]])
    flagged = checks[checks["flag"] != ""]
    assert list(flagged["file_key"]) == [cohort.labels["file_key"][4]]
    assert list(flagged["level"]) == [cohort.labels["level"][4]]
    assert list(flagged["bone_fraction"]) == [0.0]
    assert set(checks.loc[checks["flag"] == "", "bone_fraction"]) == {1.0}
    digest = paths["digest"].read_bytes()
    lenient = PARAMS.model_copy(update={"min_bone_fraction": 0.0})
    store_slices(slices=lenient, dxa=Dxa(), **paths)
    assert set(schemas.read(schemas.BOX_CHECKS, paths["checks"])["flag"]) == {""}
    # What is trained on does not depend on the check.
    assert paths["digest"].read_bytes() == digest
