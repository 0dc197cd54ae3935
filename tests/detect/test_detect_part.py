from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dsnet import schemas
from dsnet.config.detector import Detector
from dsnet.detect.part import Part
from dsnet.errors import UserError


def part(ellipses: Any, name: str) -> Part:
    return Part(
        name,
        store=ellipses.store,
        boxes=ellipses.boxes,
        split=ellipses.split,
        windows=Detector().windows,
    )


@pytest.mark.parametrize("name", schemas.SUBSETS)
def test_a_part_holds_its_images_in_the_order_of_the_store(ellipses: Any, name: str) -> None:
    split = pd.read_csv(ellipses.split)
    wanted = sorted(split.loc[split["subset"] == name, "image_key"])
    images = part(ellipses, name)
    assert [images[index].image_key for index in range(len(images))] == wanted
    assert set(images.split["subset"]) == {name}
    assert sorted(images.boxes["image_key"]) == wanted


def test_an_example_is_what_the_tables_say(ellipses: Any) -> None:
    images = part(ellipses, "train")
    stored, table = np.load(ellipses.store), pd.read_csv(ellipses.boxes).set_index("image_key")
    for index in range(len(images)):
        example = images[index]
        row = table.loc[example.image_key]
        np.testing.assert_allclose(
            example.boxes, [row[list(schemas.BOX)].to_numpy(np.float64)], rtol=1e-6
        )
        assert example.labels.tolist() == [1 + schemas.CLASSES.index(row["label"])]
        expected = np.clip((stored[row["row"]] + 450) / 1500, 0, 1)
        np.testing.assert_allclose(example.image[2], expected, atol=1e-6)
        assert example.target() == {"boxes": example.boxes, "labels": example.labels}
        assert example.boxes.dtype == torch.float32


def test_an_empty_part_is_refused(ellipses: Any) -> None:
    with pytest.raises(UserError, match=r"split\.csv: expected images in the part 'tset'"):
        part(ellipses, "tset")
