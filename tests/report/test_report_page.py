import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import HOSPITAL_IDS, Made, make, make_exclusions, make_flow

from dsnet import schemas
from dsnet.config.load import Config
from dsnet.errors import UserError
from dsnet.report.meaning import EXCLUSIONS, LEDGER, meaning
from dsnet.report.pack import column, keys
from dsnet.report.record import flat, read_records
from dsnet.report.record import settings as settings_of
from dsnet.report.results import TABLES, read_figures, read_results
from dsnet.report.step import report_on

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


def test_the_page_holds_no_identity(page: Path) -> None:
    text = page.read_text()
    assert not [word for word in HOSPITAL_IDS if word.lower() in text.lower()]
    assert ".dcm" not in text


def test_the_page_names_no_place_of_this_machine(made: Made, page: Path) -> None:
    text = page.read_text()
    assert str(made.config.results.parent) not in text
    for place in ("cohort", "results", "private"):
        assert str(getattr(made.config, place)) not in text


def test_texts_of_tables_are_no_markup(page: Path) -> None:
    text = page.read_text()
    assert "nobody &amp; co" in text
    assert "</script><b>" not in text
    assert "\\u003c/script\\u003e\\u003cb\\u003ebecause" in text


def test_the_page_says_what_there_is_not(page: Path) -> None:
    text = page.read_text()
    assert "Synthetic cohort" in text
    assert "No detector has been trained" in text
    assert "No figures have been drawn" in text
    assert all(f"{name}.csv" in text for name in TABLES)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report on a cohort that is not synthetic, with a table, figures and a training."""
    made = make(tmp_path_factory.mktemp("real"), patients=6, images=4, synthetic=False)
    results = made.config.results
    (made.config.private / "pseudonym.key").write_text("0" * 64)
    (results / "table1.csv").write_text(
        "backbone,attention,map,map_low,map_high\nresnet50,none,70.1,60,80\nresnet50,ds,71,,\n"
    )
    figures = results / "figures"
    figures.mkdir()
    (figures / "roc.svg").write_text("<svg/>")
    (figures / "roc.json").write_text('{"title": "Curves", "caption": "Words.", "data": "nobody"}')
    (figures / "a.png").write_bytes(b"png")
    model = results / "models" / "resnet50" / "ds" / "seed0"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(json.dumps(MANIFEST))
    return report_on(made.config).read_text()


def test_tables_figures_and_records_are_shown_with_their_words(real: str) -> None:
    assert "70.1 (60 to 80)" in real
    assert "backbone resnet50" in real
    assert "<strong>Curves</strong> Words. Data: nobody." in real
    assert real.index('alt="Curves"') < real.index('alt="a"')
    assert "resnet50/ds, seed 0" in real


def test_of_a_real_cohort_the_page_does_not_say_synthetic(real: str) -> None:
    assert "synthetic" not in real[: real.index("<main")].lower().replace(".stamp.synthetic", "")
    assert "fewer than 5 patients" in real


def test_tables_that_are_none_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "table2.csv").write_text("a,b\n1\n")
    with pytest.raises(UserError, match=r"table2\.csv: expected a CSV table"):
        read_results(tmp_path)


def test_figures_without_captions_go_by_name(tmp_path: Path) -> None:
    (tmp_path / "roc_curve.svg").write_text("<svg/>")
    (tmp_path / "roc_curve.png").write_bytes(b"png")
    (figure,) = read_figures(tmp_path)
    assert figure.title == "roc curve"
    assert figure.source.startswith("data:image/svg+xml")
    assert read_figures(tmp_path / "nowhere") == []


def test_a_broken_manifest_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "resnet50" / "ds" / "seed0" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"resnet50/ds/seed0/manifest\.json"):
        read_records(tmp_path)


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
    told = flat(settings_of(config))
    assert "secret" not in str(told)
    assert ("detector.weights", "a file") in told
    assert ("split.seed", "0") in told


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=40))
def test_a_packed_column_unpacks_to_itself(texts: list[str]) -> None:
    packed = column(pd.Series(texts, dtype=object))
    places = np.frombuffer(base64.b64decode(packed["places"]), "<u2")
    assert [packed["values"][place] for place in places] == texts


def test_many_values_take_wider_places() -> None:
    assert column(pd.Series([str(n) for n in range(70_000)]))["bits"] == 32


def test_keys_are_packed_in_eight_bytes() -> None:
    assert keys(pd.Series(["F-0123456789abcdef", ""])) == "ASNFZ4mrze8AAAAAAAAAAA=="


def test_every_column_has_a_meaning() -> None:
    assert set(LEDGER) == set(schemas.LEDGER.columns)
    assert set(EXCLUSIONS) == set(schemas.EXCLUSIONS.columns)
    assert meaning("map_seed_sd") == "standard deviation of map over the seeds"
    assert meaning("nobody knows") == ""


def test_a_cohort_of_which_nothing_is_left_has_a_page_too(tmp_path: Path) -> None:
    made = make(tmp_path, patients=5, images=3)
    ledger = schemas.read(schemas.LEDGER, made.tables["ledger"])
    kept = ledger["status"] == "included"
    ledger["status"] = "excluded"
    for column_of_reason in ("criterion", "all_criteria"):
        ledger[column_of_reason] = ledger[column_of_reason].where(~kept, "no_dxa")
    schemas.write(schemas.LEDGER, ledger, made.tables["ledger"])
    schemas.write(schemas.EXCLUSIONS, make_exclusions(ledger), made.tables["exclusions"])
    made.tables["flow"].write_text(json.dumps(make_flow(ledger, synthetic=True)))
    for name in ("labels", "split", "proof", "store", "boxes"):
        made.all[name].unlink()
    assert "nothing to split" in report_on(made.config).read_text(encoding="utf-8")
