import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.schemas import BOX
from dsnet.slices import SliceStore

ROWS = [
    (0, "a", "L1", (1.0, 2.0, 3.0, 4.5), "normal"),
    (1, "b", "L2", (0.0, 0.0, 8.0, 8.0), "osteopenia"),
    (1, "b", "L3", (1.5, 1.0, 6.0, 7.0), "osteoporosis"),
    (2, "c", "L4", (2.0, 2.0, 5.0, 5.0), "osteoporosis"),
]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    images = np.random.default_rng(0).integers(-1024, 3000, (3, 8, 8)).astype(np.int16)
    np.save(tmp_path / "slices.npy", images)
    table = [
        {
            "row": row,
            "image_key": f"I-{image * 16}",
            "patient_key": f"P-{image * 16}",
            "level": level,
            **dict(zip(BOX, box, strict=True)),
            "label": label,
        }
        for row, image, level, box, label in ROWS
    ]
    schemas.write(schemas.SLICES, pd.DataFrame(table), tmp_path / "slices.csv")
    return tmp_path / "slices.npy", tmp_path / "slices.csv"


def test_rows_belong_together(written: tuple[Path, Path]) -> None:
    store = SliceStore(*written)
    assert len(store) == 3
    assert store.image_keys == [f"I-{letter * 16}" for letter in "abc"]
    assert store.patient_keys == [f"P-{letter * 16}" for letter in "abc"]
    assert store.boxes(0).tolist() == [[1.0, 2.0, 3.0, 4.5]]
    assert store.boxes(1).tolist() == [[0, 0, 8, 8], [1.5, 1, 6, 7]]
    assert [store.labels(row).tolist() for row in range(3)] == [[1], [2, 3], [3]]
    assert store.levels(1) == ["L2", "L3"]
    assert store.boxes(1).dtype == np.float32
    assert store.labels(-1).tolist() == [3]
    np.testing.assert_array_equal(store.image(2), np.load(written[0])[2])


def test_images_are_mapped_and_read_only(written: tuple[Path, Path]) -> None:
    image = SliceStore(*written).image(0)
    assert isinstance(image, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 0


def test_a_pickle_holds_paths_and_no_images(written: tuple[Path, Path]) -> None:
    data = pickle.dumps(SliceStore(*written))
    assert len(data) < 500
    copy = pickle.loads(data)  # noqa: S301 - made one line above
    np.testing.assert_array_equal(copy.image(1), np.load(written[0])[1])


@pytest.mark.parametrize("rows", [[0, 1, 1], [0, 0, 2], [0, 1, 3], [1, 0, 2]])
def test_files_of_two_runs_are_refused(written: tuple[Path, Path], rows: list[int]) -> None:
    table = schemas.read(schemas.SLICES, written[1]).iloc[[0, 1, 3]].assign(row=rows)
    schemas.write(schemas.SLICES, table, written[1])
    with pytest.raises(UserError, match="boxes for each of 3 images"):
        SliceStore(*written)
