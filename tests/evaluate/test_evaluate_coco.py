import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.random_scenes import once, random_scene, scenes, to_tables, with_box_each

from dsnet import schemas
from dsnet.evaluate import scene as scene_module
from dsnet.evaluate.average_precision import mean_defined
from dsnet.evaluate.coco import ground_truth, results, write_compact, write_truth
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.scene import Scene


def recomputed(truth: Path, results: Path) -> float:
    """Return map as pycocotools computes it from the two files."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        run = COCOeval(coco, coco.loadRes(str(results)), "bbox")
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][0, :, :, 0, -1]
    return float(mean_defined(np.where(precision[0] < 0, np.nan, precision.mean(axis=0))))


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_pycocotools_recomputes_our_map(
    tmp_path_factory: pytest.TempPathFactory, scene: Scene, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    predictions, boxes, split = to_tables(with_box_each(scene, seed))
    scene = scene_module.scene(predictions, boxes, split)
    if not len(scene.detections.score):
        return  # loadRes of an empty list is an error of pycocotools
    write_compact(folder / "truth.json", ground_truth(boxes, 64, "made up"))
    write_compact(folder / "results.json", results(scene))
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    ours = recomputed(folder / "truth.json", folder / "results.json")
    assert ours == pytest.approx(values["map"][0], abs=1e-6)


def test_the_step_writes_the_test_subset_under_pseudonyms(tmp_path: Path) -> None:
    _, boxes, split = to_tables(with_box_each(random_scene(2, 6, 5), 2))
    split.loc[:2, "subset"] = "train"
    schemas.write(schemas.SLICES, boxes, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, split, tmp_path / "split.csv")
    facts = {"cohort": "made up", "synthetic": True, "size_px": 64, "pixel_mm": 2.0}
    (tmp_path / "slices.json").write_text(json.dumps(facts))
    write_truth(
        digest=tmp_path / "slices.json",
        boxes=tmp_path / "slices.csv",
        split=tmp_path / "split.csv",
        truth=tmp_path / "truth.json",
    )
    content = json.loads((tmp_path / "truth.json").read_text())
    assert "synthetic" in content["info"]["description"]
    assert [image["file_name"] for image in content["images"]] == split["image_key"][3:].tolist()
    # The id is the row in the store, which all subsets share.
    assert [image["id"] for image in content["images"]] == [4, 5, 6]
    assert {row["image_id"] for row in content["annotations"]} == {4, 5, 6}
    assert all(re.fullmatch(r"I-[0-9a-f]{16}", image["file_name"]) for image in content["images"])
    assert [row["id"] for row in content["annotations"]] == [
        1 + n for n in range(len(content["annotations"]))
    ]
