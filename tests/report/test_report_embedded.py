import base64
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.made_results import Made

from dsnet import schemas
from dsnet.report.step import Gallery, column, embed, gallery, keys, patient_table
from dsnet.slices import SliceStore
from dsnet.slices.thumbnails import EDGE_PX


@pytest.fixture(scope="module")
def store(made: Made) -> SliceStore:
    return SliceStore(made.path("slices.npy"), made.path("slices.csv"))


def pictures(made: Made, store: SliceStore, *, excluded: bool = True, number: int = 500) -> Gallery:
    results = made.results
    return gallery(
        results.ledger,
        results.index,
        store,
        results.thumbnails if excluded else None,
        number=number,
    )


def test_included_images_come_with_boxes_and_excluded_ones_as_they_were_made(
    made: Made, store: SliceStore
) -> None:
    displayed = pictures(made, store)
    boxes = {one["row"]: len(one["boxes"]) for one in displayed.thumbnails}
    ledger = made.tables.ledger
    included = set(ledger.index[ledger["status"] == "included"])
    assert {row for row, count in boxes.items() if count} == included
    assert set(boxes) - included == {0}
    assert displayed.failed == displayed.candidates - len(boxes)
    (first,) = [one for one in displayed.thumbnails if one["row"] == 0]
    image = Image.open(io.BytesIO(base64.b64decode(first["source"].split(",")[1])))
    # 16 rows of 1 mm, 8 columns of 2 mm.
    assert image.size == (first["width_px"], first["height_px"]) == (EDGE_PX, EDGE_PX)
    assert image.mode == "L"
    assert abs(image.getpixel((70, 70)) - 128) <= 2


def test_boxes_are_shares_of_the_picture(made: Made, store: SliceStore) -> None:
    box = next(one["boxes"][0] for one in pictures(made, store).thumbnails if one["boxes"])
    assert [box[edge] for edge in schemas.BOX] == [0.25, 0.25, 0.75, 0.625]
    assert box["label"] in schemas.CLASSES


def test_without_pictures_of_excluded_images_only_included_ones_are_chosen(
    made: Made, store: SliceStore
) -> None:
    displayed = pictures(made, store, excluded=False, number=10)
    assert not displayed.with_excluded
    assert all(one["boxes"] for one in displayed.thumbnails)
    assert len(displayed.thumbnails) == 10


def test_no_picture_is_shown_when_none_is_wanted(made: Made, store: SliceStore) -> None:
    assert not pictures(made, store, number=0).thumbnails


def test_patients_say_counts_subset_class_and_days(made: Made) -> None:
    exams = made.results.exams
    other = exams[:1].assign(interval_days="-3", dxa_row=99)
    later = exams[:1].assign(interval_days="400", dxa_row=98, status="farther")
    table = patient_table(made.tables, pd.concat([exams, other, later]))
    assert table["patient_key"].tolist() == made.tables.exclusions["patient_key"].tolist()
    assert table["interval_days"][0] == "10, -3"
    split = made.tables.split.drop_duplicates("patient_key").set_index("patient_key")
    for row in table.to_dict("records"):
        included = row["patient_key"] in split.index
        expected = split.loc[row["patient_key"], ["subset", "stratum"]] if included else ["", ""]
        assert [row["subset"], row["stratum"]] == list(expected)
        assert (row["n_included"] > 0) is included


def test_every_criterion_is_embedded_with_its_remedy(made: Made) -> None:
    content = embed(made.tables, made.results.exams, Gallery([], 0, 0, with_excluded=False))
    assert [one["slug"] for one in content["criteria"]] == [
        step["slug"] for step in made.tables.flow["steps"]
    ]
    assert all(one["remedy"] for one in content["criteria"])
    assert content["files"]["rows"] == 181
    assert set(content["patients"]["columns"]) == set(
        patient_table(made.tables, made.results.exams).columns
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=40))
def test_a_packed_column_unpacks_to_itself(texts: list[str]) -> None:
    packed = column(pd.Series(texts, dtype=object))
    codes = np.frombuffer(base64.b64decode(packed["codes"]), "<u2")
    assert [packed["values"][code] for code in codes] == texts


def test_many_values_take_wider_codes() -> None:
    assert column(pd.Series([str(n) for n in range(70_000)]))["bits"] == 32


def test_keys_are_packed_in_eight_bytes() -> None:
    assert keys(pd.Series(["F-0123456789abcdef", ""])) == "ASNFZ4mrze8AAAAAAAAAAA=="
