import json
import re
from pathlib import Path

import pytest
from support.made_results import Made, make, make_tables, tables_of, write_results

from dsnet import schemas
from dsnet.config.load import Config
from dsnet.errors import UserError
from dsnet.report.measured import (
    EXCLUSIONS,
    LEDGER,
    TABLES,
    column_meaning,
    read_figures,
    read_result_tables,
)
from dsnet.report.provenance import flat, read_records
from dsnet.report.provenance import settings as settings_of
from dsnet.report.step import report
from dsnet.results import Results

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


def test_the_page_asks_for_nothing_else(page: Path) -> None:
    text = page.read_text()
    style = text[text.index("<style>") : text.index("</style>")]
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
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
    assert all(f"{name}.csv" in text for name in TABLES)


def written(made: Made) -> str:
    page = made.config.results / "report.html"
    report(config=made.config, results=made.config.results, page=page)
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of a cohort that is not synthetic, with tables, figures and a training."""
    made = make(tmp_path_factory.mktemp("real"), patients=30, images=6, synthetic=False)
    results = made.config.results
    (results / "table1.csv").write_text(
        "backbone,attention,map,map_low,map_high\nresnet50,none,70.1,60,80\nresnet50,ds,71,,\n"
    )
    figures = results / "figures"
    figures.mkdir()
    (figures / "roc.svg").write_text("<svg/>")
    (figures / "roc.json").write_text('{"title": "Curves", "caption": "Words.", "data": "made up"}')
    (figures / "a.png").write_bytes(b"png")
    model = results / "models" / "resnet50" / "ds" / "seed0"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(json.dumps(MANIFEST))
    return written(made)


def test_tables_figures_and_records_are_shown_with_their_words(real: str) -> None:
    assert "70.1 (60 to 80)" in real
    assert "backbone resnet50" in real
    assert "<strong>Curves</strong> Words. Data: made up." in real
    assert real.index('alt="Curves"') < real.index('alt="a"')
    assert "resnet50/ds, seed 0" in real
    assert "(not the slices at hand)" in real


def test_of_a_real_cohort_the_page_does_not_say_synthetic(real: str) -> None:
    assert "synthetic" not in real[: real.index("<main")].lower().replace(".stamp.synthetic", "")
    assert "fewer than 5 patients" in real


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n1,2,3,4\n"])
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "table2.csv").write_text(content)
    with pytest.raises(UserError, match=r"table2\.csv: expected a CSV table"):
        read_result_tables(Results(tmp_path))


def test_figures_without_captions_go_by_name(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc_curve.svg").write_text("<svg/>")
    (tmp_path / "figures" / "roc_curve.png").write_bytes(b"png")
    (figure,) = read_figures(Results(tmp_path))
    assert figure.title == "roc curve"
    assert figure.source.startswith("data:image/svg+xml")
    assert read_figures(Results(tmp_path / "nowhere")) == []


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
    assert set(LEDGER) == set(schemas.LEDGER.columns)
    assert set(EXCLUSIONS) == set(schemas.EXCLUSIONS.columns)
    assert column_meaning("map_seed_sd") == "standard deviation of map over the seeds"
    assert column_meaning("another column") == ""


def test_a_cohort_of_which_nothing_is_left_has_a_page_too(tmp_path: Path) -> None:
    ledger = make_tables(5, 3).ledger
    kept = ledger["status"] == "included"
    ledger["status"] = "excluded"
    for name in ("criterion", "all_criteria"):
        ledger[name] = ledger[name].where(~kept, "no_dxa")
    assert "nothing to split" in written(write_results(tmp_path, tables_of(ledger)))
