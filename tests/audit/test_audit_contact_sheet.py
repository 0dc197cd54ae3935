import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.made_results import Made, make_tables, write_results

from dsnet import schemas
from dsnet.audit.contact_sheet import choose_images, contact_sheet
from dsnet.config.output import Report
from dsnet.errors import UserError


def made_checks(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Return checks of (image, patient, level, share of bone); less than 5 % is flagged."""
    table = pd.DataFrame(rows, columns=["image_key", "patient_key", "level", "bone_fraction"])
    return table.assign(flag=np.where(table["bone_fraction"] < 0.05, "little_bone", ""))


def test_flagged_images_come_first_then_patients_and_levels_in_turn() -> None:
    checks = made_checks(
        ("a1", "a", "L1", 0.3),
        ("b1", "b", "L1", 0.3),
        ("b2", "b", "L2", 0.3),
        ("a2", "a", "L1", 0.3),
        ("c1", "c", "L4", 0.04),
        ("a3", "a", "L3", 0.3),
        ("b3", "b", "L1", 0.3),
        ("c2", "c", "L4", 0.01),
        ("c2", "c", "L3", 0.5),
    )
    # b begins with L2, one level after a.
    expected = ["c2", "c1", "a1", "b2", "a3", "b1", "a2", "b3"]
    assert choose_images(checks, 99) == expected
    assert choose_images(checks, 3) == expected[:3]
    assert choose_images(checks, 1) == ["c2"]


def test_a_short_sheet_shows_all_levels() -> None:
    rows = [(f"{p}{level}", p, level, 0.3) for p in "abcd" for level in schemas.LEVELS]
    chosen = choose_images(made_checks(*rows), 4)
    assert {name[0] for name in chosen} == set("abcd")
    assert {name[1:] for name in chosen} == set(schemas.LEVELS)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return results of which one box is flagged, and one image has two boxes."""
    made = write_results(tmp_path, make_tables(5, 4))
    path = made.path("box_checks.csv")
    checks = schemas.read(schemas.BOX_CHECKS, path)
    checks.loc[2, ["bone_fraction", "flag"]] = [0.031, "little_bone"]
    schemas.write(schemas.BOX_CHECKS, checks, path)
    return made


def run(made: Made, number: int = 96) -> tuple[Image.Image, str]:
    png, page = made.config.results / "sheet.png", made.config.results / "sheet.html"
    contact_sheet(
        report=Report(contact_images=number), results=made.config.results, png=png, page=page
    )
    return Image.open(io.BytesIO(png.read_bytes())), page.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Collects what a page holds, and that its elements are closed in order."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_each_image_with_its_boxes_and_keys(made: Made) -> None:
    _, page = run(made)
    checks = schemas.read(schemas.BOX_CHECKS, made.path("box_checks.csv"))
    outline = Outline(page)
    assert outline.open == []
    figures = [attributes for tag, attributes in outline.seen if tag == "figure"]
    assert len(figures) == checks["image_key"].nunique()
    assert [one.get("class") for one in figures] == ["flagged"] + [None] * (len(figures) - 1)
    for column in ("file_key", "patient_key"):
        assert set(re.findall(rf"{checks[column][0][0]}-[0-9a-f]{{16}}", page)) == set(
            checks[column]
        )
    first = page.split("<figure")[1]
    assert checks["file_key"][2] in first
    assert "too little bone" in first
    assert f"{checks['level'][2]} " in first
    assert ", 3.1% bone" in first


def test_the_page_needs_no_other_file_and_runs_no_script(made: Made) -> None:
    _, page = run(made)
    assert not re.search(r"<script|<link|https?://|src=\"(?!data:image/jpeg)", page)
    pictures = re.findall(r"base64,([^\"]+)", page)
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[0])))
    assert picture.size == (224, 224)
    # The box of the made results: 12 to 36 of 48 pixels across, in the colour of a flag.
    red, green, _ = picture.convert("RGB").getpixel((57, 90))
    assert red > green + 60


def test_the_sheet_says_whose_slices_and_how_many(made: Made) -> None:
    _, page = run(made)
    assert "Annotated slices of made &amp; up (synthetic, not patients)" in page
    checks = schemas.read(schemas.BOX_CHECKS, made.path("box_checks.csv"))
    patients = checks["patient_key"].nunique()
    assert f"{len(checks)} boxes on {len(checks)} slices of {patients} patients" in page
    assert "1 boxes with too little bone for a vertebral body, on 1 slices" in page


@pytest.mark.parametrize(("number", "columns", "rows"), [(1, 4, 1), (6, 6, 1), (7, 6, 2)])
def test_the_picture_is_bounded(made: Made, number: int, columns: int, rows: int) -> None:
    png, page = run(made, number)
    assert page.count("<figure") == number
    assert png.size == (8 + columns * 232, 8 + 2 * 30 + rows * (232 + 2 * 15))


def test_checks_of_another_run_are_one_sentence(made: Made) -> None:
    path = made.path("box_checks.csv")
    schemas.write(schemas.BOX_CHECKS, schemas.read(schemas.BOX_CHECKS, path)[1:], path)
    with pytest.raises(UserError, match=r"box_checks\.csv"):
        run(made)
