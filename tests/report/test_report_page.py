import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.made_results import Made, make, make_tables, tables_of, write_map, write_results
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.cli import app
from dsnet.config.load import Config
from dsnet.config.output import FIGURES
from dsnet.errors import UserError
from dsnet.evaluate import compare, subgroups
from dsnet.report.measured import (
    HEADLINES,
    MEANINGS,
    OPTIONAL,
    TABLES,
    column_meaning,
    read_figures,
    read_result_tables,
)
from dsnet.report.methods import flat, read_records
from dsnet.report.methods import settings as settings_of
from dsnet.report.step import report
from dsnet.results import Results
from dsnet.tables import clinical, detectors, literature, other_data

pytestmark = pytest.mark.slow

MANIFEST = {
    "commit": "abcdef0123456789",
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "settings": {
        "variant": {"backbone": "resnet50", "attention": "ds"},
        "seed": 0,
        "detector": Config(cohort=Path("x")).detector.model_dump(mode="json"),
        "train": Config(cohort=Path("x")).train.model_dump(mode="json"),
    },
    "data": {"digest_sha256": "0" * 64, "size_px": 48, "pixel_mm": 1.5},
    "machine": {"device": "cpu", "name": "a processor", "threads": 2, "precision": "32-true"},
    "result": {"epoch": 3, "seconds": 90.0, "parameters": 41000000},
}


TABLE1 = (
    "backbone,attention,map,map_low,map_high,fps,paper_map,paper_fps,test_patients,test_images,data\n"
    "resnet50,none,70.12,60,80.2,18.8504,78.2,0.1849,19,152,demo\n"
    "resnet50,ds,71,,,17,83.4,0.1846,19,152,demo\n"
)
SUMMARY = {"resnet50": {"none": {"box_ap50": 0.9991, "box_ap50_low": 0.988, "box_ap50_high": 1.0}}}


def test_the_page_asks_for_nothing_else(page: Path) -> None:
    text = page.read_text()
    style = text[text.index("<style>") : text.index("</style>")]
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href|srcset)=\"(?!data:|#)", text)
    assert not re.findall(r"@import|url\(", style)
    assert "<script src" not in text


def test_the_page_needs_neither_private_folder_nor_cohort(made: Made, page: Path) -> None:
    assert page.exists()
    assert not made.config.private.exists()
    assert not made.config.cohort.exists()


def test_the_page_names_no_folder_of_this_machine(made: Made, page: Path) -> None:
    text = page.read_text()
    assert str(made.config.results.parent) not in text
    for folder in ("cohort", "results", "private"):
        assert str(getattr(made.config, folder)) not in text


def test_texts_of_tables_are_no_markup(page: Path) -> None:
    text = page.read_text()
    assert "made &amp; up" in text
    assert "</script><b>" not in text
    assert "\\u003c/script\\u003e\\u003cb\\u003ebecause" in text


def test_the_page_says_what_there_is_not(page: Path) -> None:
    text = page.read_text()
    assert "Synthetic cohort" in text
    assert "No detector has been trained" in text
    assert "No figures have been made" in text
    assert all(f"{name}.csv" in text for name in set(TABLES) - set(OPTIONAL))
    assert not any(f"{name}.csv" in text for name in OPTIONAL)


def test_the_page_counts_near_misses(made: Made, tmp_path: Path) -> None:
    assert "nearly equal" not in written(made)
    results = shutil.copytree(made.config.results, tmp_path / "results")
    flow = json.loads((results / "cohort" / "flow.json").read_text(encoding="utf-8"))
    flow["identity"] = {"near_misses": 3}
    (results / "cohort" / "flow.json").write_text(json.dumps(flow), encoding="utf-8")
    report(config=made.config, results=results, page=results / "report.html")
    assert "3 patient IDs nearly equal" in (results / "report.html").read_text(encoding="utf-8")


def written(made: Made) -> str:
    page = made.config.results / "report.html"
    report(config=made.config, results=made.config.results, page=page)
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of a cohort that is not synthetic, with tables, figures and a training."""
    made = make(tmp_path_factory.mktemp("real"), patients=30, images=6, synthetic=False)
    results = made.config.results
    (results / "table1.csv").write_text(TABLE1)
    (results / "metrics.json").write_text(json.dumps(SUMMARY))
    (results / "figures").mkdir()
    (results / "figures" / "figure4.svg").write_text("<svg/>")
    figures = results / "figures"
    (figures / "roc.svg").write_text("<svg/>")
    (figures / "roc.json").write_text('{"title": "Curves", "caption": "Words.", "data": "made up"}')
    (figures / "a.png").write_bytes(b"png")
    model = results / "models" / "resnet50" / "ds" / "seed0"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(json.dumps(MANIFEST))
    return written(made)


def test_tables_figures_and_records_are_shown_with_their_words(real: str) -> None:
    table = real[real.index('<table class="results">') : real.index('<details class="all">')]
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)<', table) == [
        "Detector",
        "map %",
        "Box AP %",
        "Images/s",
    ]
    cells = re.findall(r"<t[dh][^>]*>([^<]*)((?:<small>[^<]*</small>)*)<", table)
    assert ("70.1", "<small>60.0 to 80.2</small><small>paper 78.2</small>") in cells
    assert ("ResNet50+DS", "") in cells
    assert ("71.0", "<small>paper 83.4</small>") in cells
    assert ("99.9", "<small>98.8 to 100.0</small>") in cells
    assert ("18.9", "") in cells
    assert "On 19 test patients, 152 images. Data: demo." in real
    raw = real[real.index('<table class="raw">') :]
    assert re.findall(r'<th scope="col">([^<]*)<', raw)[:3] == ["backbone", "attention", "map"]
    assert "<td>18.8504</td>" in raw
    assert "<strong>Curves</strong> Words. Data: made up." in real
    assert real.index('alt="figure4"') < real.index('alt="Curves"') < real.index('alt="a"')
    assert "resnet50/ds, seed 0" in real
    assert "(not the slices at hand)" in real


def test_of_each_method_the_statistic_by_which_it_is_compared_is_shown(
    made: Made, tmp_path: Path
) -> None:
    shutil.copytree(made.config.results, tmp_path, dirs_exist_ok=True)
    heads = "backbone,attention,statistic,difference\n"
    rows = "resnet50,se,map,1.5\nresnet50,se,recall,2\nresnet50,ds,map,3\nresnet50,ds,recall,4\n"
    (tmp_path / "differences.csv").write_text(heads + rows)
    heads = "method,split,labels,statistic,value\n"
    rows = "HU,patient,true,localised_macro_auc,70\nHU,patient,true,patient_accuracy,60\n"
    rows += "HU,image,true,localised_macro_auc,90\nDS,patient,true,map,50\n"
    (tmp_path / "leakage.csv").write_text(heads + rows)
    tables, _ = read_result_tables(Results(tmp_path))
    shown = {table.name: [[cell.value for cell in row] for row in table.rows] for table in tables}
    assert shown["differences"] == [["ResNet50+SE", "map", "1.5"], ["ResNet50+DS", "map", "3.0"]]
    assert shown["leakage"] == [
        ["HU", "patient", "true", "localised macro AUC", "70.0"],
        ["HU", "image", "true", "localised macro AUC", "90.0"],
        ["DS", "patient", "true", "map", "50.0"],
    ]
    assert [len(table.raw) for table in tables] == [4, 4]


def test_of_a_real_cohort_the_page_does_not_say_synthetic(real: str) -> None:
    assert "synthetic" not in real[: real.index("<main")].lower().replace(".stamp.synthetic", "")
    assert "fewer than 5 patients" in real


def test_after_the_exclusions_alone_the_page_says_what_is_missing(
    made: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(made.config.results, folder)
    kept = ("source", "index", "ledger", "exclusions", "flow", "patients", "exams", "decisions")
    for path in (folder / "cohort").iterdir():
        if path.stem not in kept:
            path.unlink()
    page = folder / "report.html"
    report(config=made.config, results=folder, page=page)
    text = page.read_text(encoding="utf-8")
    missing = re.findall(r"Not made yet:</strong> (.*?)\. <code>", text)
    assert missing == [
        "labels, split, slices, thumbnails of excluded images, trainings, table1.csv, table2.csv, "
        "table3.csv, differences.csv, agreement.csv, decision.csv, sample_size.csv, subgroups.csv, "
        "leakage.csv, figures"
    ]
    assert "There is no split yet." in text
    assert "No table of results has been made yet." in text


def test_a_whole_results_folder_misses_nothing(real: str) -> None:
    assert "table1.csv" not in re.findall(r"Not made yet:</strong> (.*?)</p>", real)[0]


def test_a_shareable_page_holds_no_pictures_and_no_single_patient(
    made: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(made.config.results, folder)
    (folder / "figures").mkdir()
    for name in ("figure4", "roc", "mine"):
        (folder / "figures" / f"{name}.svg").write_text("<svg/>")
    page = folder / "shareable" / "report.html"
    report(config=made.config, results=folder, page=page, shareable=True)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"\b[FISEP]-[0-9a-f]{16}\b", text)
    assert "image/jpeg" not in text
    assert "<script" not in text
    assert 'alt="roc"' in text
    assert 'alt="figure4"' not in text
    assert 'alt="mine"' not in text
    assert "the figure froc" in text[: text.index("<nav")]
    assert "the figure figure4" not in text[: text.index("<nav")]
    assert "Left out of this page" in text
    assert "numbers of patients below 5" in text
    assert ">hidden<" in text


@pytest.mark.parametrize(("patient_id", "hits"), [("THORNABEE18", 0), ("QUILLFEATHER17", 1)])
def test_the_command_searches_a_shareable_page_and_removes_it_on_a_hit(
    made: Made, tmp_path: Path, patient_id: str, hits: int
) -> None:
    config = made.config.model_copy(update={"private": tmp_path / "private"})
    folder = tmp_path / "results"
    shutil.copytree(made.config.results, folder)
    (folder / "figures").mkdir()
    (folder / "figures" / "roc.svg").write_text("<svg/>")
    (folder / "figures" / "roc.json").write_text('{"caption": "Of patient QUILLFEATHER17."}')
    configfile = tmp_path / "config.yaml"
    configfile.write_text(f"cohort: {config.cohort}\nprivate: {config.private}\n")
    call = ["report", "--shareable", "--results", str(folder), "--configfile", str(configfile)]
    page = folder / "shareable" / "report.html"

    without_map = CliRunner().invoke(app, call)
    assert without_map.exit_code == 1
    assert not page.exists()

    write_map(Made(config, made.tables), {}, {})
    identity = {"value": patient_id, "kind": "PatientID", "form": "text", "patient_key": ""}
    path = next(config.private.glob("*/map.parquet")).with_name("identifying.parquet")
    schemas.write(schemas.IDENTIFYING, pd.DataFrame([identity]), path)
    result = CliRunner().invoke(app, call)
    assert result.exit_code == hits, result.output
    assert page.exists() is (hits == 0)
    assert len(json.loads((folder / "phi_check_shareable.json").read_text())["hits"]) == hits


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n1,2,3,4\n"])
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "table2.csv").write_text(content)
    with pytest.raises(UserError, match=r"table2\.csv: expected a CSV table"):
        read_result_tables(Results(tmp_path))


@pytest.mark.parametrize("name", sorted(HEADLINES))
def test_headlines_are_columns_of_the_table_that_is_written(name: str) -> None:
    written = {
        "table1": detectors.COLUMNS,
        "table2": detectors.COLUMNS,
        "table3": literature.COLUMNS,
        "differences": compare.COLUMNS,
        "leakage": other_data.LEAKAGE,
        "agreement": clinical.AGREEMENT,
        "decision": clinical.DECISION,
        "sample_size": clinical.SAMPLE_SIZE,
        "subgroups": subgroups.COLUMNS,
        "external": other_data.EXTERNAL,
        "repeats": other_data.REPEATS,
        "learning_curve": other_data.REPEATS,
    }[name]
    derived = {"detector", "box_ap50"}
    assert {column.name for column in HEADLINES[name]} - derived <= set(written)
    for column in HEADLINES[name]:
        if column.name not in derived and any(column.bounds):
            assert set(column.bounds) <= set(written)


def test_every_column_of_tables_of_detectors_has_a_meaning() -> None:
    assert [head for head in detectors.COLUMNS if not column_meaning(head)] == []


def test_a_table_of_another_detector_takes_nothing_from_the_summary(tmp_path: Path) -> None:
    (tmp_path / "table1.csv").write_text("backbone,attention,map\nvgg16,ds,1.0\n")
    (tmp_path / "metrics.json").write_text(json.dumps(SUMMARY))
    ((table,), _) = read_result_tables(Results(tmp_path))
    assert [column.name for column in table.columns] == ["detector", "map"]


def test_figures_without_captions_go_by_name(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc_curve.svg").write_text("<svg/>")
    (tmp_path / "figures" / "roc_curve.png").write_bytes(b"png")
    (figure,), _ = read_figures(Results(tmp_path))
    assert figure.title == "roc curve"
    assert figure.source.startswith("data:image/svg+xml")
    assert read_figures(Results(tmp_path / "nowhere")) == ([], list(FIGURES))


def test_a_broken_manifest_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "models" / "resnet50" / "ds" / "seed0" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"resnet50/ds/seed0/manifest\.json"):
        read_records(Results(tmp_path))


def test_settings_say_no_path() -> None:
    config = Config.model_validate(
        {
            "cohort": "/secret/a",
            "private": "/secret/b",
            "results": "/secret/c",
            "split": {"file": "/secret/d"},
            "detector": {"weights": "/secret/e"},
        }
    )
    pairs = flat(settings_of(config))
    assert "secret" not in str(pairs)
    assert ("detector.weights", "a file") in pairs
    assert ("split.seed", "0") in pairs


def test_every_column_has_a_meaning() -> None:
    assert set(MEANINGS["ledger"]) == set(schemas.LEDGER.columns)
    assert set(MEANINGS["exclusions"]) == set(schemas.EXCLUSIONS.columns)
    assert column_meaning("map_seed_sd") == "standard deviation of map over the seeds"
    assert column_meaning("another column") == ""


def test_a_cohort_of_which_nothing_is_left_has_a_page_too(tmp_path: Path) -> None:
    ledger = make_tables(5, 3).ledger
    kept = ledger["status"] == "included"
    ledger["status"] = "excluded"
    for name in ("criterion", "all_criteria"):
        ledger[name] = ledger[name].where(~kept, "no_dxa")
    assert "nothing to split" in written(write_results(tmp_path, tables_of(ledger)))
