import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.made_results import Made, make_tables, tables_of

from dsnet.errors import UserError
from dsnet.report.counts import check_sums, read_tables, stages, subset_counts, words
from dsnet.report.diagram import draw, flow_diagram
from dsnet.report.methods import checklist
from dsnet.results import Results


def test_all_tables_of_one_run_agree(made: Made) -> None:
    tables = read_tables(made.results)
    assert len(tables.ledger) == 181
    assert not tables.leaky


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ("ledger", r"ledger\.csv, files: expected 181, as the other tables count, but found 180"),
        ("exclusions", r"exclusions\.csv"),
        ("labels", r"labels\.csv, images that are not those included in ledger\.csv"),
        ("split", r"split\.csv, images that are not those included"),
    ],
)
def test_a_lost_row_is_an_error(table: str, where: str) -> None:
    tables = make_tables(30, 6)
    shorter = tables.__class__(**{**vars(tables), table: getattr(tables, table)[:-1]})
    with pytest.raises(UserError, match=where):
        check_sums(shorter)


def test_a_flow_that_does_not_add_up_is_an_error() -> None:
    tables = make_tables(30, 6)
    step = next(step for step in tables.flow["steps"] if step["slug"] == "contrast_enhanced")
    step["removed"]["images"] += 1
    with pytest.raises(UserError, match=r"flow\.json, contrast_enhanced, images left"):
        check_sums(tables)


def test_a_criterion_moved_in_the_ledger_is_an_error() -> None:
    tables = make_tables(30, 6)
    row = int((tables.ledger["criterion"] == "tumour").idxmax())
    tables.ledger.loc[row, "criterion"] = "fracture_history"
    with pytest.raises(UserError, match=r"ledger\.csv, fracture_history: expected 0"):
        check_sums(tables)


def test_tables_of_two_runs_are_an_error(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.config.results, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cohort" / "ledger.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=r"ledger\.csv: expected the file that was written"):
        read_tables(Results(tmp_path))


def test_before_labels_and_split_there_are_none(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.config.results, tmp_path, dirs_exist_ok=True)
    (tmp_path / "cohort" / "split.csv").unlink()
    tables = read_tables(Results(tmp_path))
    assert not tables.split_made
    assert len(tables.labels) == tables.flow["included"]["images"]
    (tmp_path / "cohort" / "labels.csv").unlink()
    assert read_tables(Results(tmp_path)).labels.empty


def test_without_a_ledger_there_is_one_sentence(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.config.results, tmp_path, dirs_exist_ok=True)
    (tmp_path / "cohort" / "ledger.csv").unlink()
    with pytest.raises(UserError, match=r"ledger\.csv: expected the table of an earlier step"):
        read_tables(Results(tmp_path))


def test_patients_in_two_subsets_are_leaky() -> None:
    tables = make_tables(6, 4)
    tables.split.loc[0, "subset"] = "test" if tables.split.loc[0, "subset"] != "test" else "train"
    assert tables.leaky


def test_stages_hold_every_criterion_once(made: Made) -> None:
    flow = made.results.flow
    every = stages(flow)
    assert sum(len(stage.steps) + stage.without for stage in every) == len(flow["steps"])
    for unit in ("files", "images", "patients"):
        removed = sum(stage.removed[unit] for stage in every)
        assert flow["found"][unit] - removed == flow["included"][unit]
    assert every[-1].remain == flow["included"]


def test_a_criterion_of_an_unknown_stage_is_an_error(made: Made) -> None:
    flow = json.loads(made.path("flow.json").read_text())
    flow["steps"][3].update(slug="new_one", stage="elsewhere")
    with pytest.raises(UserError, match="new_one"):
        stages(flow)


def test_the_same_tables_give_the_same_diagram(diagram: Path, made: Made, tmp_path: Path) -> None:
    flow_diagram(results=made.config.results, svg=tmp_path / "a.svg", png=tmp_path / "a.png")
    for kind in ("svg", "png"):
        again = (tmp_path / f"a.{kind}").read_bytes()
        assert diagram.with_suffix(f".{kind}").read_bytes() == again


@pytest.fixture(scope="module")
def diagram(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diagram") / "flow.svg"
    flow_diagram(results=made.config.results, svg=path, png=path.with_suffix(".png"))
    return path


def test_the_diagram_holds_every_count(made: Made, diagram: Path) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", diagram.read_text())
    tables = made.tables
    flow = tables.flow
    for counts in (flow["found"], flow["included"]):
        assert {f"{number:,}" for number in counts.values()} <= set(texts)
    for step in flow["steps"]:
        listed = f"{step['code']}  {words(step['slug'])}" in texts
        assert listed is any(step["removed"].values())
    for subset in subset_counts(tables).values():
        assert {f"{count:,}" for pair in subset.values() for count in pair} <= set(texts)
    assert "Cohort made &amp; up - SYNTHETIC, not patients" in texts
    assert diagram.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_narrow_diagram_says_the_same_in_one_column(made: Made, diagram: Path) -> None:
    def texts(svg: str) -> list[str]:
        return sorted(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).split())

    wide, narrow = diagram.read_text(), draw(made.tables, narrow=True).rendered("svg").decode()
    assert texts(narrow) == texts(wide)
    width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)pt"', narrow))
    assert width == 290
    assert height > 2 * width


def test_without_a_split_the_diagram_ends_with_what_is_included() -> None:
    tables = make_tables(6, 4)
    without = tables.__class__(**{**vars(tables), "split": tables.split[:0]})
    svg = draw(without).rendered("svg").decode()
    assert ">Included<" in svg
    assert ">Train<" not in svg


def test_a_leaky_split_is_marked_in_the_diagram() -> None:
    tables = make_tables(6, 4)
    tables.split["subset"] = ["train", "test"] * (len(tables.split) // 2) + ["train"] * (
        len(tables.split) % 2
    )
    assert "LEAKY" in draw(tables).rendered("svg").decode()


def test_subsets_and_classes_add_up_to_what_is_included() -> None:
    tables = make_tables(30, 6)
    subsets = subset_counts(tables).values()
    assert sum(rows["all"][1] for rows in subsets) == tables.flow["included"]["images"]
    for rows in subsets:
        by_class = pd.DataFrame([count for name, count in rows.items() if name != "all"]).sum()
        assert tuple(by_class) == rows["all"]


def test_a_patient_is_counted_once_although_levels_differ_in_class() -> None:
    tables = tables_of(make_tables(2, 4).ledger)
    tables.labels.loc[0, "label"] = "osteoporosis"
    assert sum(rows["all"][0] for rows in subset_counts(tables).values()) == 1


def test_the_checklist_is_filled_in_and_leaves_blanks(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "checklist.md"
    checklist(config=made.config, results=made.config.results, checklist=path)
    text = path.read_text()
    claim = text[text.index("## CLAIM 2024") : text.index("## TRIPOD")]
    assert re.findall(r"^\| (\d+) \|", claim, re.MULTILINE) == [str(n) for n in range(1, 45)]
    numbers = re.findall(r"^\| (\d+)", text[text.index("## TRIPOD") :], re.MULTILINE)
    assert numbers[-1] == "27"
    assert "tumour: 36 files, 6 patients" in text
    assert "Synthetic cohort, not patients" in text
    assert "**[TO WRITE:" in text
    assert "No detector had been trained" in text
