import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.made_metrics import report
from support.random_scenes import random_scene, with_box_each

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.config.output import FIGURES
from dsnet.evaluate.step import metrics_of
from dsnet.figures.curves import CAPTIONS, write_curves
from dsnet.figures.detections import Chosen, strip, write_figure4
from dsnet.figures.forest import write_forest
from dsnet.figures.learning import write_learning
from dsnet.figures.patients import write_patients
from dsnet.schemas import BOX, CLASSES
from dsnet.slices.store import SliceStore

VARIANTS = ("resnet50/none", "resnet50/ds")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, ellipses: Any) -> Path:
    """Metrics, differences, histories and predictions of two detectors; one reports nothing."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, value in zip((*VARIANTS, "hu/multinomial"), (0.6, 0.9, 0.8), strict=True):
        _write(folder / f"metrics/{name}.json", json.dumps(report(value)))
    differences = "backbone,attention,statistic,difference,low,high,p_holm\n"
    _write(folder / "differences.csv", f"{differences}resnet50,ds,map,2.5,-1,,0.04\n")
    history = pd.DataFrame(0.5, index=range(3), columns=list(schemas.HISTORY.columns))
    history["epoch"] = [1, 2, 3]
    history.loc[0, "validation_map"] = np.nan
    for name, count in zip(VARIANTS, (0, None), strict=True):
        for seed in (0, 1):
            _write(folder / f"models/{name}/seed{seed}/history.csv", history.to_csv(index=False))
        schemas.write(
            schemas.PREDICTIONS,
            _predictions(ellipses).iloc[:count],
            folder / f"predictions/{name}/seed0/test.parquet",
        )
    return folder


@pytest.fixture(scope="module")
def once(inputs: Path, ellipses: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every figure."""
    folder = tmp_path_factory.mktemp("figures")
    for step in _steps(inputs, ellipses):
        step(folder=folder)
    return folder


def _steps(inputs: Path, ellipses: Any) -> Iterator[Callable[..., None]]:
    """Yield every step of the package, without the folder into which it writes."""
    variants, metrics = list(VARIANTS), inputs / "metrics"
    data = {"digest": ellipses.digest, "split": ellipses.split}
    yield partial(write_curves, variants=variants, baselines=["hu/multinomial"], metrics=metrics)
    differences = inputs / "differences.csv"
    yield partial(write_forest, variants=variants, metrics=metrics, differences=differences)
    models = inputs / "models"
    yield partial(write_learning, variants=variants, seeds=[0, 1], models=models, **data)
    yield partial(write_patients, **data)
    options = {"variants": variants, "seed": 0, "score": 0.5, "predictions": inputs / "predictions"}
    yield partial(write_figure4, **options, **ellipses.paths())


def _predictions(ellipses: Any) -> pd.DataFrame:
    """Return two boxes an image: the annotated one, osteopenia with 0.75, and one with 0.1."""
    table = schemas.read(schemas.SLICES, ellipses.boxes)[["image_key", *BOX]]
    sure = table.assign(label="osteopenia", score=0.75, p_osteopenia=0.75, p_background=0.25)
    unsure = table.assign(label="normal", score=0.1, p_normal=0.1, p_background=0.9)
    both = pd.concat([sure, unsure], ignore_index=True)
    return both.reindex(columns=list(schemas.PREDICTIONS.columns)).fillna(0.0)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_each_figure_states_what_its_data_are(once: Path) -> None:
    names = {path.stem for path in once.iterdir()}
    assert names == set(FIGURES)
    for name in names:
        assert (once / f"{name}.png").read_bytes().startswith(PNG)
        caption = json.loads((once / f"{name}.json").read_text(encoding="utf-8"))
        assert set(caption) == {"title", "caption", "data"}
        assert "(synthetic, not patients)" in caption["data"]
        # As text, not as outlines.
        assert f">Data: {caption['data']}<" in (once / f"{name}.svg").read_text(encoding="utf-8")
    forest_svg = (once / "forest.svg").read_text(encoding="utf-8")
    assert "LEAKY" in forest_svg
    assert "+2.5, p = 0.04" in forest_svg


def test_the_evaluation_writes_what_curves_are_made_of(tmp_path: Path) -> None:
    scene = with_box_each(random_scene(3, 12, 8), 3)
    few = Evaluate(bootstrap=100, permutations=100)
    provenance = {"cohort": "made up", "synthetic": True, "leaky": False}
    for name in (*VARIANTS, "hu/multinomial"):
        made = {**provenance, **metrics_of([scene, scene], [0, 1], few)}
        _write(tmp_path / f"metrics/{name}.json", json.dumps(made))
    folder = tmp_path / "figures"
    write_curves(
        variants=list(VARIANTS),
        baselines=["hu/multinomial"],
        metrics=tmp_path / "metrics",
        folder=folder,
    )
    assert {path.stem for path in folder.iterdir()} == set(CAPTIONS)


def test_one_seed_has_a_difference_without_a_p_value(tmp_path: Path) -> None:
    for name in VARIANTS:
        made = report(0.6) | {"seeds": [0], "interval": {"scope": "patients; this one training"}}
        _write(tmp_path / f"metrics/{name}.json", json.dumps(made))
    heads = "backbone,attention,statistic,difference,low,high,p_holm\n"
    _write(tmp_path / "differences.csv", f"{heads}resnet50,ds,map,2.5,-1,6,\n")
    paths = {"metrics": tmp_path / "metrics", "differences": tmp_path / "differences.csv"}
    write_forest(variants=list(VARIANTS), folder=tmp_path, **paths)
    assert ">+2.5<" in (tmp_path / "forest.svg").read_text(encoding="utf-8")
    caption = json.loads((tmp_path / "forest.json").read_text(encoding="utf-8"))["caption"]
    assert "these two trainings" in caption
    assert "Holm" not in caption


def test_the_rule_names_every_figure_of_the_step() -> None:
    rules = Path(__file__).parents[2] / "workflow" / "rules" / "figures.smk"
    named = re.findall(r'^ {4}"(\w+)",$', rules.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(CAPTIONS) == set(named)


def test_the_same_numbers_give_the_same_bytes(
    once: Path, inputs: Path, ellipses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    # Pictures, hatches, clips and markers: all that has an identifier in an SVG.
    for step in list(_steps(inputs, ellipses))[1:]:
        step(folder=tmp_path)
    again = sorted(tmp_path.iterdir())
    assert len(again) == 4 * 3
    for path in again:
        assert path.read_bytes() == (once / path.name).read_bytes(), path.name


def test_no_date_and_no_software_in_a_file(once: Path) -> None:
    for path in once.iterdir():
        content = path.read_bytes()
        for word in (b"dc:date", b"dc:creator", b"Software", b"tIME", b"matplotlib.org"):
            assert word not in content, path.name


def test_figure4_shows_class_and_probability_from_the_score_on(once: Path) -> None:
    svg = (once / "figure4.svg").read_text(encoding="utf-8")
    for text in ("ResNet50+DS", "annotation", "osteopenia 0.75", "no detection", "50 mm"):
        assert f">{text}<" in svg, text
    assert "normal 0.10" not in svg
    assert svg.count(">no detection<") == len(CLASSES)


def test_a_strip_holds_the_boxes_of_its_own_slice(ellipses: Any) -> None:
    store = SliceStore(ellipses.store, ellipses.boxes)
    chosen = Chosen(3, "normal", "L1")
    made = strip(store, chosen, {"a": _predictions(ellipses)}, 0.5)
    annotation, detections = made.columns
    assert [mark.probability for mark in (*annotation, *detections)] == [None, 0.75]
    assert annotation[0].edges == pytest.approx(detections[0].edges, abs=1e-4)
    assert annotation[0].edges == pytest.approx(store.boxes(3)[0].tolist())
