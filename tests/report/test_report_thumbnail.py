import base64
import io

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.made_results import Made, make_index, make_tables, save_ct

from dsnet import schemas
from dsnet.report.sample import choose
from dsnet.report.thumbnail import EDGE_PX, Gallery, bone_window, draw
from dsnet.report.vault import identities
from dsnet.slices.store import SliceStore


def small_ledger(patients: int, images: int) -> pd.DataFrame:
    """Return what the rule looks at: every third patient out, every fourth image flagged."""
    number = np.arange(patients * images)
    patient = number // images
    criterion = np.where(patient % 3 == 0, "tumour", "")
    return pd.DataFrame(
        {
            "patient_key": patient.astype(str),
            "criterion": criterion,
            "all_criteria": np.where((criterion == "") & (number % 4 == 0), "cement?", criterion),
        }
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 80))
def test_the_sample_is_bounded_and_spread(patients: int, images: int, number: int) -> None:
    ledger = small_ledger(patients, images)
    drawable = pd.Series(np.arange(len(ledger)) % 5 != 4)
    chosen = choose(ledger, drawable, number)
    assert len(chosen) == len(set(chosen)) == min(number, int(drawable.sum()))
    kinds = ledger.loc[drawable, "criterion"].nunique()
    assert ledger.loc[chosen, "criterion"].nunique() >= min(number // 2, kinds)
    assert drawable[chosen].all()
    # More asked for only adds.
    assert choose(ledger, drawable, number + 1)[:number] == chosen


def test_the_middle_image_comes_first() -> None:
    ledger = small_ledger(1, 7)
    assert choose(ledger, ledger["patient_key"] != "", 7)[0] == 3


def test_the_bone_window_ends_at_its_edges() -> None:
    grey = bone_window(np.array([-2000, -450, 300, 1050, 3000]))
    assert list(grey) == [0, 0, 128, 255, 255]


def drawn(made: Made, index: pd.DataFrame, *, private: bool = True, number: int = 500) -> Gallery:
    cohort = made.config.cohort
    return draw(
        schemas.read(schemas.LEDGER, made.all["ledger"]),
        index,
        SliceStore(made.all["store"], made.all["boxes"]),
        identities(cohort, made.config.private) if private else None,
        cohort,
        number=number,
    )


def test_included_images_come_with_boxes_and_excluded_ones_from_their_files(made: Made) -> None:
    ledger = schemas.read(schemas.LEDGER, made.all["ledger"])
    index = schemas.read(schemas.INDEX, made.all["index"])
    gallery = drawn(made, index)
    boxes = {one.row: len(one.boxes) for one in gallery.thumbnails}
    included = set(ledger.index[ledger["status"] == "included"])
    assert {row for row, count in boxes.items() if count} == included
    # One file of all excluded images is there; the map leads nowhere for the others.
    assert set(boxes) - included == {0}
    assert gallery.failed == gallery.candidates - len(boxes)
    (first,) = [one for one in gallery.thumbnails if one.row == 0]
    picture = Image.open(io.BytesIO(base64.b64decode(first.source.split(",")[1])))
    # 16 rows of 1 mm, 8 columns of 2 mm.
    assert picture.size == (first.width_px, first.height_px) == (EDGE_PX, EDGE_PX)
    assert picture.mode == "L"
    assert abs(picture.getpixel((70, 70)) - 128) <= 2


def test_screenshots_are_never_drawn(made: Made) -> None:
    index = schemas.read(schemas.INDEX, made.all["index"])
    index.loc[0, "image_kind"] = "secondary"
    assert 0 not in {one.row for one in drawn(made, index).thumbnails}


def test_burned_in_annotation_is_never_drawn(made: Made) -> None:
    index = schemas.read(schemas.INDEX, made.all["index"])
    path = next(made.config.cohort.glob("dicom/*/1.dcm"))
    before = path.read_bytes()
    save_ct(path, BurnedInAnnotation="YES")
    try:
        assert 0 not in {one.row for one in drawn(made, index).thumbnails}
    finally:
        path.write_bytes(before)


def test_without_the_map_only_included_images_are_drawn(made: Made) -> None:
    index = schemas.read(schemas.INDEX, made.all["index"])
    gallery = drawn(made, index, private=False, number=10)
    assert not gallery.with_excluded
    assert all(one.boxes for one in gallery.thumbnails)
    assert len(gallery.thumbnails) == 10


def test_none_is_drawn_when_none_is_wanted(made: Made) -> None:
    assert not drawn(made, make_index(make_tables(30, 6).ledger), number=0).thumbnails
