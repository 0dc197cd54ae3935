from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet import schemas
from dsnet.figures.detections import Chosen, choose, core_hu
from dsnet.schemas import BOX, CLASSES, LEVELS
from dsnet.slices import SliceStore

SIZE_PX = 16
BOX_PX = (4.0, 4.0, 12.0, 12.0)


def store_of(folder: Path, hu: np.ndarray, labels: list[str], levels: list[str]) -> SliceStore:
    """Return a store with one box on each image."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"row": range(len(hu)), "level": levels, "label": labels})
    table["image_key"] = [f"I-{row:016x}" for row in table["row"]]
    table["patient_key"] = [f"P-{row:016x}" for row in table["row"]]
    table[list(BOX)] = BOX_PX
    schemas.write(schemas.SLICES, table[list(schemas.SLICES.columns)], folder / "s.csv")
    np.save(folder / "s.npy", hu.astype(np.int16))
    return SliceStore(folder / "s.npy", folder / "s.csv")


def flat(*values: int) -> np.ndarray:
    return np.stack([np.full((SIZE_PX, SIZE_PX), value) for value in values])


@pytest.mark.parametrize(("others", "row"), [((100, 500, 300, 200, 400), 2), ((9, 1, 5, 3), 3)])
def test_the_median_and_of_two_the_lower(tmp_path: Path, others: tuple[int, ...], row: int) -> None:
    count = len(others)
    store = store_of(tmp_path, flat(*others), ["normal"] * count, ["L3"] * count)
    assert choose(store, set(store.image_keys)) == [Chosen(row, "normal", "L3")]


def test_the_first_level_that_the_class_has(tmp_path: Path) -> None:
    labels = ["osteoporosis", "osteoporosis", "normal", "normal", "normal"]
    store = store_of(tmp_path, flat(1, 2, 3, 4, 5), labels, ["L1", "L4", "L1", "L3", "L2"])
    assert choose(store, set(store.image_keys)) == [
        Chosen(3, "normal", "L3"),
        Chosen(1, "osteoporosis", "L4"),
    ]


def test_only_the_images_given(tmp_path: Path) -> None:
    store = store_of(tmp_path, flat(1, 2, 3), ["normal"] * 3, ["L3"] * 3)
    assert choose(store, {store.image_keys[2]}) == [Chosen(2, "normal", "L3")]


@settings(deadline=None, max_examples=8)
@given(st.randoms(use_true_random=False), st.integers(0, 9))
def test_neither_the_order_nor_the_pseudonyms_decide(
    tmp_path_factory: pytest.TempPathFactory, random: "st.random.Random", seed: int
) -> None:
    count = 18
    generator = np.random.default_rng(seed)
    # Few values: ties are broken by the pixels outside of the box.
    hu = np.repeat(generator.integers(0, 3, count), SIZE_PX**2).reshape(-1, SIZE_PX, SIZE_PX)
    hu[:, 0, 0] = np.arange(count)
    labels = [CLASSES[k] for k in generator.integers(3, size=count)]
    levels = [LEVELS[k] for k in generator.integers(4, size=count)]
    order = list(range(count))
    random.shuffle(order)
    chosen = []
    for rows in (range(count), order):
        store = store_of(
            tmp_path_factory.mktemp("store"),
            hu[list(rows)],
            [labels[row] for row in rows],
            [levels[row] for row in rows],
        )
        # The pixel in the corner identifies the image, regardless of its row and key.
        chosen.append(
            [
                (store.image(each.row)[0, 0], each.label, each.level)
                for each in choose(store, set(store.image_keys))
            ]
        )
    assert chosen[0] == chosen[1]


def test_the_core_is_the_middle_half_of_the_box() -> None:
    hu = np.zeros((SIZE_PX, SIZE_PX), dtype=np.int16)
    hu[6:10, 6:10] = 200
    assert core_hu(hu, np.array(BOX_PX, dtype=np.float32)) == 200
    assert core_hu(hu, np.array([6.4, 6.4, 6.6, 6.6], dtype=np.float32)) == 200
