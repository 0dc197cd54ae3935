import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.made_results import Made, make_tables

from dsnet.errors import UserError
from dsnet.report.checklist import draft
from dsnet.report.diagram import draw, part_counts
from dsnet.report.stages import many, stages, words
from dsnet.report.tables import read_tables


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for name, path in made.tables.items():
        paths[name] = Path(shutil.copy(path, tmp_path / path.name))
    return paths


def test_all_tables_of_one_run_agree(made: Made) -> None:
    tables = read_tables(**made.tables)
    assert len(tables.ledger) == 181
    assert not tables.leaky


def drop_last(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ("ledger", r"ledger\.csv, files: expected 181, as the other tables count, but found 180"),
        ("exclusions", r"exclusions\.csv"),
        ("labels", r"labels\.csv, images that are not those included in ledger\.csv"),
        ("split", r"split\.csv, images that are not those included"),
    ],
)
def test_a_lost_row_is_an_error(copied: dict[str, Path], table: str, where: str) -> None:
    drop_last(copied[table])
    with pytest.raises(UserError, match=where):
        read_tables(**copied)


def test_a_flow_that_does_not_add_up_is_an_error(copied: dict[str, Path]) -> None:
    told = json.loads(copied["flow"].read_text())
    told["steps"][8]["removed"]["images"] += 1
    copied["flow"].write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"flow\.json, contrast_enhanced, images left"):
        read_tables(**copied)


def test_a_criterion_moved_in_the_ledger_is_an_error(copied: dict[str, Path]) -> None:
    edit(copied["ledger"], "excluded,tumour", "excluded,fracture_history")
    with pytest.raises(UserError, match=r"ledger\.csv, fracture_history: expected 0"):
        read_tables(**copied)


@pytest.mark.parametrize("content", [None, "[", "[]", '{"found": {}}'])
def test_a_broken_flow_is_one_sentence(copied: dict[str, Path], content: str | None) -> None:
    copied["flow"].unlink()
    if content is not None:
        copied["flow"].write_text(content)
    with pytest.raises(UserError, match=r"flow\.json: expected the JSON object"):
        read_tables(**copied)


def test_patients_in_two_parts_are_leaky() -> None:
    tables = make_tables(6, 4)
    tables.split.loc[0, "subset"] = "test" if tables.split.loc[0, "subset"] != "test" else "train"
    assert tables.leaky


def test_stages_hold_every_criterion_once(made: Made) -> None:
    flow = read_tables(**made.tables).flow
    found = stages(flow)
    assert sum(len(stage.steps) + stage.without for stage in found) == len(flow["steps"])
    for unit in ("files", "images", "patients"):
        removed = sum(stage.removed[unit] for stage in found)
        assert flow["found"][unit] - removed == flow["included"][unit]
    assert found[-1].remain == flow["included"]


def test_an_unknown_criterion_is_an_error(made: Made) -> None:
    flow = json.loads(made.tables["flow"].read_text())
    flow["steps"][3]["slug"] = "new_one"
    with pytest.raises(UserError, match="new_one"):
        stages(flow)


def test_words_of_slugs_and_numbers() -> None:
    assert words("no_hu_scale") == "no HU scale"
    assert (many(1, "file"), many(1200, "file")) == ("1 file", "1,200 files")


@pytest.fixture(scope="module")
def drawn(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(**made.tables, svg=folder / "flow.svg", png=folder / "flow.png")
    return folder


@pytest.mark.usefixtures("page")
def test_the_same_tables_draw_the_same_bytes(made: Made, drawn: Path) -> None:
    for name in ("flow.svg", "flow.png"):
        again = made.config.results / "cohort" / name
        assert (drawn / name).read_bytes() == again.read_bytes()


def test_the_diagram_says_every_count(made: Made, drawn: Path) -> None:
    svg, png = drawn / "flow.svg", drawn / "flow.png"
    said = re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text())
    tables = read_tables(**made.tables)
    flow = tables.flow
    for counts in (flow["found"], flow["included"]):
        assert {f"{number:,}" for number in counts.values()} <= set(said)
    for step in flow["steps"]:
        assert (f"{step['code']}  {words(step['slug'])}" in said) is any(step["removed"].values())
    for part in part_counts(tables).values():
        assert {f"{count:,}" for pair in part.values() for count in pair} <= set(said)
    assert "Cohort nobody &amp; co - SYNTHETIC, not patients" in said
    assert png.read_bytes().startswith(b"\x89PNG")


def test_parts_and_classes_add_up_to_what_is_included(made: Made) -> None:
    tables = read_tables(**made.tables)
    parts = part_counts(tables).values()
    assert sum(rows["all"][1] for rows in parts) == tables.flow["included"]["images"]
    for rows in parts:
        by_class = pd.DataFrame([count for name, count in rows.items() if name != "all"]).sum()
        assert tuple(by_class) == rows["all"]


def test_the_checklist_is_filled_in_and_leaves_blanks(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "checklist.md"
    draft(
        config=made.config,
        results=made.config.results,
        proof=made.all["proof"],
        checklist=path,
        **made.tables,
    )
    text = path.read_text()
    claim = text[text.index("## CLAIM 2024") : text.index("## TRIPOD")]
    assert re.findall(r"^\| (\d+) \|", claim, re.MULTILINE) == [str(n) for n in range(1, 45)]
    numbers = re.findall(r"^\| (\d+)", text[text.index("## TRIPOD") :], re.MULTILINE)
    assert numbers[-1] == "27"
    assert "tumour: 36 files, 6 patients" in text
    assert "Synthetic cohort, not patients" in text
    assert "**[TO WRITE:" in text
    assert "No detector had been trained" in text
