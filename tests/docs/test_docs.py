"""The documentation builds, its links lead somewhere, and the contributor's map runs."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
import torch
from support.random_scenes import make_scene
from support.scratch import ROOT, clone

from dsnet.cohort.annotations import Source
from dsnet.config.cohort import Exclude
from dsnet.config.detector import AttentionOptions, Detector, Variant
from dsnet.detect import attention, backbone, model
from dsnet.exclude.criterion import Case

pytestmark = pytest.mark.slow


class _Page(HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if value and (name == "src" or (name == "href" and tag in ("a", "link"))):
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Page]:
    """The pages of the site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, "-d", str(folder / "trees"), str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = [path for path in (folder / "html").rglob("*.html") if "_static" not in path.parts]
    return {path: _Page(path.read_text(encoding="utf-8")) for path in pages}


def test_links_within_the_site_lead_somewhere(site: dict[Path, _Page]) -> None:
    broken = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = site[target].ids if target in site else set()
            if not target.exists() or (parts.fragment and parts.fragment not in known):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_pages_load_nothing_from_a_network(site: dict[Path, _Page]) -> None:
    for path in site:
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"(https?:[^\"]+)", text)
        assert [one for one in loaded if "canonical" not in one] == [], path.name


def test_links_of_the_readme_and_its_like_lead_somewhere() -> None:
    for page in sorted(ROOT.glob("*.md")):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http", "#")):
                assert (ROOT / link.partition("#")[0]).exists(), f"{page.name}: {link}"


def _block(title: str) -> dict[str, Any]:
    """Run the Python below a heading of the contributor's map, and return its names."""
    text = (ROOT / "docs" / "contribute.md").read_text(encoding="utf-8")
    code = text.partition(f"## {title}\n")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, title, "exec"), names)  # noqa: S102 - our own page
    return names


def test_the_criterion_excludes_what_it_says() -> None:
    rule = _block("An exclusion criterion")["thick_slices"]
    files = pd.DataFrame({"slice_thickness_mm": [1.0, 6.0, np.nan]})
    found = rule.evaluate(Case(files, Exclude(), np.ones(3, dtype=bool)))
    assert found.fails.tolist() == [False, True, False]
    assert found.evidence.tolist() == ["", "SliceThickness 6.0 mm", ""]


def test_the_annotation_format_is_read(tmp_path: Path) -> None:
    read = _block("An annotation format")["read_rois"]
    source = Source(1, tmp_path / "a.json", "a.json")
    roi = {"level": "L2", "edges": [1, 2, 30, 40], "image": "IM0001"}
    (one,) = read(source, {"rois": [roi]})
    assert (one.label, one.edges, one.file_name) == ("L2", (1, 2, 30, 40), "IM0001")
    assert read(source, {}) is None


def test_the_attention_module_keeps_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "ATTENTION", dict(attention.ATTENTION))
    _block("An attention module")
    module = attention.attention_module("average", 64, AttentionOptions())  # type: ignore[arg-type]
    x = torch.rand(2, 64, 5, 7)
    assert torch.equal(module(x), x)  # gamma is 0 at first


def test_the_backbone_becomes_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "BACKBONE", backbone.BACKBONE)
    try:
        _block("A backbone")
        variant = SimpleNamespace(backbone="resnet18", attention="none")
        config = Detector(weights="none", fpn=True)
        network = model.build(config, variant, size_px=64, pixel_mm=2.25)  # type: ignore[arg-type]
    finally:
        backbone.BACKBONE.pop("resnet18", None)  # type: ignore[call-overload]
    with torch.no_grad():
        (prediction,) = network.eval()([torch.rand(3, 64, 64)])
    assert set(prediction) >= {"boxes", "labels", "scores"}
    assert isinstance(Variant.model_validate("resnet50/none"), Variant)


def test_the_metric_is_computed_for_each_row_of_weights() -> None:
    f1 = _block("A metric")["f1"]
    here, away = [0, 0, 10, 10], [50, 50, 60, 60]
    of_two = make_scene(
        [0, 1],
        [(0, here, 0, 0), (1, here, 1, 0)],
        [(0, here, 0, [0.1, 0.8, 0.1, 0.0]), (0, away, 0, [0.1, 0.8, 0.1, 0.0])],
    )
    # Both patients: one right, one false, one missed. The first alone: none missed.
    assert f1(of_two, np.array([[1.0, 1.0], [1.0, 0.0]]), 0.5, 0.5) == pytest.approx([1 / 2, 2 / 3])


def test_the_figure_of_the_pipeline_shows_its_rules(tmp_path: Path) -> None:
    figure = (ROOT / "docs" / "pipeline.svg").read_text(encoding="utf-8")
    project = clone(tmp_path / "project")
    printed = project.succeed("snakemake", "--rulegraph", "--", "results/table1.csv")
    rules = set(re.findall(r'label = "(\w+)"', printed))
    assert set(re.findall(r">(\w+)</text>", figure)) == rules, "run make figure"
