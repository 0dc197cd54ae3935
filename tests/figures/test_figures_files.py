import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from support.made_metrics import report
from support.random_scenes import random_scene, with_box_each

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.config.output import FIGURES
from dsnet.errors import UserError
from dsnet.evaluate.step import metrics_of
from dsnet.figures import ATTENTION_LOOKS, COLUMN_MM, INCH_MM, PAGE_MM, styled
from dsnet.figures.curves import (
    CAPTIONS,
    calibration,
    confusion,
    decision,
    froc,
    precision_recall,
    roc,
    write_curves,
)
from dsnet.figures.detections import Chosen, strip, write_figure4
from dsnet.figures.trainings import write_forest, write_learning, write_patients
from dsnet.schemas import BOX, CLASSES
from dsnet.slices import SliceStore
from dsnet.tables import Entry

pytestmark = pytest.mark.slow

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
        _write_manifest(folder / "models", name)
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
    models = inputs / "models"
    options = {"variants": variants, "seeds": [0, 1], "models": models}
    yield partial(write_forest, metrics=metrics, differences=differences, **options)
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


def _write_manifest(models: Path, name: str) -> None:
    gammas = {"backbone.body.attention_layer4": 0.25} if name.endswith("ds") else {}
    text = json.dumps({"result": {"gamma": gammas}})
    _write(models / name / "seed0" / "manifest.json", text)


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
        # As text, not as outlines; wrapped where the figure is one column wide.
        lines = re.findall(r">([^<]+)</text>", (once / f"{name}.svg").read_text(encoding="utf-8"))
        assert f"Data: {caption['data']}" in " ".join(lines)
    forest_svg = (once / "forest.svg").read_text(encoding="utf-8")
    assert "LEAKY" in forest_svg
    assert "+2.5, p = 0.04" in forest_svg
    assert "gamma layer4 0.250" in forest_svg


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


def test_metrics_of_an_older_version_are_named(tmp_path: Path) -> None:
    older = {name: value for name, value in report(0.6).items() if name != "bands"}
    _write(tmp_path / "metrics/resnet50/none.json", json.dumps(older))
    with pytest.raises(UserError, match=r"none\.json"):
        write_curves(
            variants=["resnet50/none"],
            baselines=[],
            metrics=tmp_path / "metrics",
            folder=tmp_path / "figures",
        )


def test_one_seed_has_a_difference_without_a_p_value(tmp_path: Path) -> None:
    for name in VARIANTS:
        made = report(0.6) | {"seeds": [0], "interval": {"scope": "patients; this one training"}}
        _write(tmp_path / f"metrics/{name}.json", json.dumps(made))
        _write_manifest(tmp_path / "models", name)
    heads = "backbone,attention,statistic,difference,low,high,p_holm\n"
    _write(tmp_path / "differences.csv", f"{heads}resnet50,ds,map,2.5,-1,6,\n")
    paths = {name: tmp_path / name for name in ("metrics", "models")}
    paths["differences"] = tmp_path / "differences.csv"
    write_forest(variants=list(VARIANTS), seeds=[0], folder=tmp_path, **paths)
    assert ">+2.5<" in (tmp_path / "forest.svg").read_text(encoding="utf-8")
    caption = json.loads((tmp_path / "forest.json").read_text(encoding="utf-8"))["caption"]
    assert "these two trainings" in caption
    assert "Holm" not in caption


def test_a_figure_is_made_for_its_print_width(once: Path) -> None:
    widths = {}
    for name in FIGURES:
        with Image.open(once / f"{name}.png") as picture:
            dots_per_inch = picture.info["dpi"][0]
            widths[name] = round(picture.width / dots_per_inch * INCH_MM)
        assert dots_per_inch == pytest.approx(300, abs=0.1)
        svg = (once / f"{name}.svg").read_text(encoding="utf-8")
        sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)}
        assert min(sizes) >= 7, name
    one_column = {"calibration", "froc", "decision", "patients"}
    assert {name for name, width in widths.items() if width == COLUMN_MM} == one_column
    assert {width for name, width in widths.items() if name not in one_column} == {PAGE_MM}


def entries_of(*names: str, changed: dict[str, Any] | None = None) -> list[Entry]:
    return [Entry(name, report(0.6) | (changed or {})) for name in names]


@pytest.mark.parametrize("make", [precision_recall, roc, calibration, froc])
def test_bands_of_the_first_and_the_last_detector(make: Callable[..., Figure]) -> None:
    names = ["resnet50/none", "resnet50/se", "resnet50/ds", "hu/multinomial"]
    with styled():
        figure = make(entries_of(*(names if make is roc else names[:-1])))
    with_curves = [panel for panel in figure.axes if len(panel.lines) > 1]
    for panel in with_curves:
        bands = [one for one in panel.collections if isinstance(one, FillBetweenPolyCollection)]
        colours = [tuple(band.get_facecolor()[0][:3]) for band in bands]
        assert colours == [to_rgb(ATTENTION_LOOKS[name].colour) for name in ("none", "ds")]
    for legend in [*figure.legends, *(panel.get_legend() for panel in with_curves)]:
        if legend:
            assert {text.get_fontsize() for text in legend.get_texts()} == {8}


def test_captions_say_how_many_and_how(once: Path) -> None:
    words = {
        "roc": ("400 resamples of the 5 patients", "ResNet50 and ResNet50+DS", "over 2 trainings"),
        "froc": ("each of the 8 boxes",),
        "confusion_box": ("8 annotated",),
        "confusion_level": ("8 in all",),
        "learning": ("training subset (", " patients, "),
        "patients": (" patients (A) and their ",),
        "figure4": (" test patients",),
    }
    for name, expected in words.items():
        caption = json.loads((once / f"{name}.json").read_text(encoding="utf-8"))["caption"]
        for text in expected:
            assert text in caption, name


@pytest.mark.parametrize(("most", "scale"), [(0.02, "linear"), (20.0, "symlog")])
def test_the_axis_of_false_boxes_ends_where_nothing_rises(most: float, scale: str) -> None:
    made = report(0.6)
    for kind, level in (("curves", "sensitivity"), ("bands", "low")):
        for unit, points in made[kind]["froc"].items():
            points[f"false_per_{unit}"] = [0.0, most, 50.0]
            points[level] = [0.82, 0.9, 0.9]
    with styled():
        figure = froc([Entry("resnet50/none", made)])
    for panel in figure.axes:
        assert panel.get_xscale() == scale
        assert panel.get_xlim() == pytest.approx((0, 1.5 * most))
        assert panel.get_ylim()[0] == pytest.approx(0.75)


def test_a_decision_curve_stands_against_dxa_for_all_and_for_none() -> None:
    made = report(0.6)
    with styled():
        [panel] = decision([Entry("resnet50/none", made), Entry("hu/multinomial", made)]).axes
    detector, baseline, everyone, nobody = (line.get_ydata() for line in panel.get_lines())
    assert list(detector) == list(baseline) == pytest.approx([35, 20, 10])
    assert list(everyone) == pytest.approx([33.33, 25, 0])
    assert set(nobody) == {0}
    # One band, since only the detector has one, and the axis ends above the prevalence.
    assert sum(isinstance(one, FillBetweenPolyCollection) for one in panel.collections) == 1
    assert panel.get_ylim() == pytest.approx((-8, 44))


def test_a_confusion_matrix_has_counts_and_percent_and_leaves_out_what_cannot_be_counted() -> None:
    with styled():
        panel = confusion(entries_of("resnet50/none"), "box").axes[0]
    texts = {text.get_text() for text in panel.texts}
    assert {"3\n75 %", "1\n25 %", "2\n67 %"} <= texts
    assert len(panel.texts) == 15  # of 16: false boxes that were not reported


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
