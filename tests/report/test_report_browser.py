"""The page in a real browser: 50,000 files, filtered, sorted and opened by keyboard; on a telephone
and on paper; and what axe-core says of it.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.made_results import Made, make_exams, make_proof, make_tables

from dsnet.config.load import Config
from dsnet.report.counts import Tables
from dsnet.report.step import Gallery, embed, render, report

pytestmark = pytest.mark.slow

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE_ROWS = 25
"""In the document at once, however long the ledger."""


@pytest.fixture(scope="module")
def large() -> Tables:
    return make_tables(patients=5000, images=10)


@pytest.fixture(scope="module")
def large_page(large: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = Gallery([], 0, 0, with_excluded=False)
    content = {
        "diagram": "data:,",
        "narrow_diagram": "data:,",
        "pictures": pictures,
        "description": [],
        "min_cell": 0,
        "proof": make_proof(large.split),
        "results": [],
        "missing": [],
        "figures": [],
        "records": [],
        "shareable": False,
        "methods": "",
    }
    embedded = embed(large, make_exams(large.ledger), pictures)
    page = render(large, Config(cohort=Path("cohort")), embedded, content)
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


class Visit:
    """One page in a browser, with all that it requests and reports."""

    def __init__(self, browser: object) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())

    def rows(self, grid: str = "files") -> int:
        return self.page.locator(f"#{grid}-grid tbody tr").count()

    def count(self, grid: str = "files") -> str:
        return self.page.inner_text(f"#{grid}-count")

    def cell(self, index: int, name: str, grid: str = "files") -> str:
        return self.page.inner_text(f"#{grid}-grid-{index} .{name}")

    @property
    def focus(self) -> str:
        """Describe the element that has the focus."""
        return self.page.evaluate(
            "(({id, name, className, form}) => [form?.id, name, id, className]"
            ".filter(Boolean).join(' '))(document.activeElement)"
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: object) -> Iterator[Visit]:
    opened = Visit(browser)
    yield opened
    opened.page.close()
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1
    assert opened.messages == []


def test_fifty_thousand_rows_are_filtered_and_counted(
    visit: Visit, large: Tables, large_page: Path
) -> None:
    visit.open(large_page)
    assert visit.count() == "50,001 of 50,001 files, 5,000 patients"
    ledger = large.ledger
    wanted = ledger[ledger["criterion"] == "not_lumbar"]
    visit.page.select_option("#files-filter [name=criterion]", "not_lumbar")
    files, patients = len(wanted), wanted["patient_key"].nunique()
    assert visit.count() == f"{files:,} of 50,001 files, {patients:,} patients"
    assert visit.cell(0, "file_key") == wanted["file_key"].iloc[0]
    visit.page.select_option("#files-filter [name=criterion]", "cement")
    assert visit.count() == "0 of 50,001 files, 0 patients"
    visit.page.check("#files-filter [name=every]")
    flagged = int((ledger["all_criteria"] == "cement?").sum())
    assert visit.count().startswith(f"{flagged:,} of")
    assert visit.cell(0, "all_criteria") == "cement (review)"
    visit.page.click("#files-filter [type=reset]")
    visit.page.wait_for_function(
        "document.getElementById('files-count').textContent.startsWith('50,001')"
    )
    visit.page.select_option("#files-filter [name=status]", "included")
    assert visit.count().startswith(f"{large.flow['included']['files']:,} of")
    for key in ("patient_key", "file_key", "image_key", "series_key"):
        visit.page.fill("#files-filter [name=key]", wanted[key].iloc[0].upper())
        assert visit.count().endswith(("of 50,001 files, 1 patient", "files, 0 patients"))


def test_patients_are_filtered_and_searched(visit: Visit, large: Tables, large_page: Path) -> None:
    visit.open(large_page)
    assert visit.count("patients") == "5,000 of 5,000 patients"
    excluded = large.exclusions[large.exclusions["criterion"] == "tumour"]
    visit.page.select_option("#patients-filter [name=criterion]", "tumour")
    assert visit.count("patients") == f"{len(excluded):,} of 5,000 patients"
    assert visit.cell(0, "patient_key", "patients") == excluded["patient_key"].iloc[0]
    assert visit.cell(0, "criterion", "patients") == "E20 tumour"
    assert visit.cell(0, "interval_days", "patients") == "10"
    visit.page.click("#patients-filter [type=reset]")
    visit.page.wait_for_function(
        "document.getElementById('patients-count').textContent.startsWith('5,000')"
    )
    visit.page.select_option("#patients-filter [name=subset]", "test")
    tested = large.split.loc[large.split["subset"] == "test", "patient_key"].nunique()
    assert visit.count("patients") == f"{tested:,} of 5,000 patients"
    visit.page.fill("#patients-filter [name=key]", "p-" + "0" * 15 + "2")
    assert not visit.page.is_visible("#patients-hint")
    visit.page.fill("#patients-filter [name=key]", "0815-4711")
    assert "dsnet audit --patient" in visit.page.inner_text("#patients-hint")


def test_numbers_are_sorted_as_numbers(visit: Visit, large_page: Path) -> None:
    visit.open(large_page)
    visit.page.evaluate(
        "PATIENTS.columns.n_files.values[0] = '9';"
        "PATIENTS.columns.n_files.codes.set([1], 7); PATIENTS.columns.n_files.values[1] = '10';"
    )
    visit.page.click("#patients-grid th.n_files button")
    assert visit.cell(0, "n_files", "patients") == "9"
    visit.page.click("#patients-grid th.n_files button")
    assert visit.cell(0, "n_files", "patients") == "10"


def test_only_one_page_of_rows_is_in_the_document(
    visit: Visit, large: Tables, large_page: Path
) -> None:
    visit.open(large_page)
    keys = large.ledger["file_key"]
    assert visit.rows() == PAGE_ROWS
    visit.page.click("#files-grid .pager button:last-of-type")
    assert visit.cell(PAGE_ROWS, "file_key") == keys[PAGE_ROWS]
    assert visit.page.inner_text("#files-grid .pager span") == "26 to 50 of 50,001"
    visit.page.focus("#files-grid table")
    visit.press("End")
    assert visit.cell(len(keys) - 1, "file_key") == keys.iloc[-1]
    assert visit.rows() == len(keys) % PAGE_ROWS
    visit.page.click("#files-grid th.file_key button")
    assert visit.cell(0, "file_key") == keys.min()
    visit.page.click("#files-grid th.file_key button")
    assert visit.cell(0, "file_key") == keys.max()
    assert visit.page.get_attribute("#files-grid th.file_key", "aria-sort") == "descending"
    visit.page.click("#files-grid th.status button")
    assert visit.cell(0, "status") == "included"


def test_filters_are_a_few_tabs_away(visit: Visit, page: Path) -> None:
    visit.open(page)
    for target, first in (("patients", "patients-filter key"), ("files", "files-filter key")):
        visit.page.reload()
        visit.press("Tab")
        assert visit.focus == "skip"
        if target == "files":
            visit.press("Tab")
        visit.press("Enter", "Tab")
        assert visit.focus == first
        visit.requests.pop()


def test_a_patient_is_opened_by_keyboard(visit: Visit, made: Made, page: Path) -> None:
    visit.open(page)
    visit.page.focus("#files-grid table")
    visit.press("End", "PageUp", "Home", "ArrowDown", "ArrowDown", "ArrowUp")
    active = visit.page.get_attribute("#files-grid table", "aria-activedescendant")
    assert active == "files-grid-1"
    assert visit.page.get_attribute("#files-grid-1", "aria-selected") == "true"
    patient = visit.cell(1, "patient_key")
    visit.press("Enter")
    assert visit.page.inner_text("#patient-title") == patient
    assert visit.page.locator("#patient tbody tr").count() == 6
    assert visit.page.locator("#patient svg image").count() == 1
    visit.press("Escape")
    assert visit.page.evaluate("document.activeElement.closest('#files-grid') !== null")
    visit.press(*["ArrowDown"] * 7, "Enter")
    assert visit.page.locator("#patient svg rect").count() == 5
    assert "excluded: not lumbar" not in visit.page.inner_text("#patient .pictures")
    assert str(made.config.cohort) not in visit.page.inner_text("#patient")


def test_rows_across_pages_are_reached_by_arrows(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.focus("#files-grid table")
    visit.press("PageDown", "ArrowUp")
    assert visit.page.get_attribute("#files-grid-24", "aria-selected") == "true"
    assert visit.rows() == PAGE_ROWS
    visit.press("ArrowDown")
    assert visit.page.get_attribute("#files-grid-25", "aria-selected") == "true"
    assert visit.page.locator("#files-grid-24").count() == 0


def test_a_patient_says_what_would_have_to_change(visit: Visit, made: Made, page: Path) -> None:
    visit.open(page)
    visit.page.select_option("#patients-filter [name=criterion]", "tumour")
    visit.page.focus("#patients-grid table")
    visit.press("Enter")
    text = visit.page.inner_text("#patient .facts")
    assert "E20 tumour: The patient has a primary or metastatic tumour." in text
    assert "because" in text
    assert "(6 files)" in text
    assert "10 days before the CT" in text
    assert "correct the clinical table, if its answer is wrong; or keep it in review.csv" in text
    visit.press("Escape")
    assert visit.page.evaluate("document.activeElement.closest('#patients-grid') !== null")
    assert made.config.private.name not in text


def test_a_criterion_of_the_flow_leads_to_its_files(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.click("button[data-criterion=tumour]")
    assert visit.count() == "36 of 181 files, 6 patients"
    assert visit.page.evaluate("document.activeElement.closest('#files-grid') !== null")
    visit.page.click("button[data-criterion=cement]")
    assert visit.count().startswith("18 of")


def test_on_a_telephone_status_criterion_and_evidence_are_in_sight(
    visit: Visit, page: Path
) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open(page)
    visit.page.evaluate("document.fonts.ready")
    source = visit.page.evaluate("document.querySelector('.diagram img').currentSrc")
    assert source == visit.page.get_attribute(".diagram source", "srcset")
    visit.page.select_option("#files-filter [name=criterion]", "tumour")
    for name in ("status", "criterion", "evidence"):
        box = visit.page.locator(f"#files-grid-0 .{name}").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    assert visit.cell(0, "evidence") == "</script><b>because</b>"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_telephone_map_recall_and_accuracy_are_in_sight(visit: Visit, full_page: Path) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open(full_page)
    cells = visit.page.locator("table.results tbody tr").first.locator("th, td")
    for index in range(4):
        box = cells.nth(index).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
    assert visit.page.locator(".result img").bounding_box()["width"] <= 390


def test_evidence_is_never_cut(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.evaluate(
        "FILES.columns.evidence.values[FILES.columns.evidence.codes[0]] = 'long words '.repeat(60)"
    )
    visit.page.click("#files-filter [type=reset]")
    cell = visit.page.locator("#files-grid-0 .evidence")
    visit.page.wait_for_function(
        "document.querySelector('#files-grid-0 .evidence').textContent.length > 600"
    )
    assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    assert cell.evaluate("cell => getComputedStyle(cell).textOverflow") == "clip"


def test_on_paper_there_are_the_patients_of_the_filter(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.select_option("#patients-filter [name=status]", "excluded")
    visit.page.emulate_media(media="print")
    visit.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert not visit.page.is_visible("#files-grid")
    assert not visit.page.is_visible("#patients-grid")
    assert visit.page.inner_text("#patients-printed") == "12 of 30 patients"
    rows = visit.page.locator("#patients-print tr")
    assert rows.count() == 12
    assert "E08 contrast enhanced" in rows.first.inner_text()
    align = rows.first.locator(".n_files").evaluate("cell => getComputedStyle(cell).textAlign")
    assert align == "right"
    assert visit.page.is_visible("table.counts")
    columns = "getComputedStyle(document.querySelector('.settings')).columnCount"
    assert visit.page.evaluate(columns) == "3"
    visit.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert rows.count() == 0


def violations(visit: Visit) -> dict[str, list[str]]:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    results: dict[str, Any] = axe.Axe().run(visit.page).response
    return {
        one["id"]: [node["html"][:120] for node in one["nodes"]] for one in results["violations"]
    }


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_axe_core_has_no_objection(visit: Visit, full_page: Path, width: int, scheme: str) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.emulate_media(color_scheme=scheme)
    visit.open(full_page)
    visit.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert violations(visit) == {}
    visit.page.fill("#patients-filter [name=key]", "0815")
    assert violations(visit) == {}
    visit.page.fill("#patients-filter [name=key]", "")
    visit.page.focus("#patients-grid table")
    visit.press("Enter")
    assert violations(visit) == {}


def test_axe_core_has_no_objection_to_a_shareable_page(
    visit: Visit, made: Made, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    report(config=made.config, results=made.config.results, page=path, shareable=True)
    visit.open(path)
    assert violations(visit) == {}


@pytest.fixture(scope="module")
def full_page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with a table, a figure and a settings list."""
    folder = tmp_path_factory.mktemp("full")
    shutil.copytree(made.config.results, folder, dirs_exist_ok=True)
    (folder / "table1.csv").write_text(
        "backbone,attention,map,map_low,map_high,recall,accuracy,paper_map,paper_accuracy\n"
        "mobilenet_v2,none,70.1,60.5,80.5,88.1,74.1,78.2,71.1\nresnet50,ds,71,,,90,75,83.4,73.9\n"
    )
    (folder / "figures").mkdir()
    (folder / "figures" / "roc.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="481pt" height="200pt"/>'
    )
    (folder / "figures" / "roc.json").write_text(json.dumps({"title": "ROC", "caption": "Words."}))
    path = folder / "report.html"
    report(config=made.config, results=folder, page=path)
    return path
