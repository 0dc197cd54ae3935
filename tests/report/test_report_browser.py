"""The page in a real browser: 50,000 rows, filtered, sorted and opened by keyboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.made_results import Made, make_proof, make_tables

from dsnet.config.load import Config
from dsnet.report.counts import Tables
from dsnet.report.embedded import Gallery, embed
from dsnet.report.step import Content, render

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
MOST_ROWS = 120
"""In the document at once, however long the ledger."""


@pytest.fixture(scope="module")
def large() -> Tables:
    return make_tables(patients=5000, images=10)


@pytest.fixture(scope="module")
def large_page(large: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = Gallery([], 0, 0, with_excluded=False)
    content = Content(
        tables=large,
        config=Config(cohort=Path("cohort")),
        diagram="data:,",
        embedded=embed(large, pictures),
        pictures=pictures,
        description=[],
        proof=make_proof(large.split),
        results=[],
        missing=[],
        figures=[],
        records=[],
    )
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_text(render(content), encoding="utf-8")
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

    @property
    def rows(self) -> int:
        return self.page.locator("#grid tbody tr[data-index]").count()

    @property
    def count(self) -> str:
        return self.page.inner_text("#count")

    def cell(self, index: int, name: str) -> str:
        return self.page.inner_text(f"#row-{index} .{name}")


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
    assert visit.count == "50,001 of 50,001 files, 5,000 patients"
    ledger = large.ledger
    wanted = ledger[ledger["criterion"] == "not_lumbar"]
    visit.page.select_option("#filter [name=criterion]", "not_lumbar")
    files, patients = len(wanted), wanted["patient_key"].nunique()
    assert visit.count == f"{files:,} of 50,001 files, {patients:,} patients"
    assert visit.cell(0, "file_key") == wanted["file_key"].iloc[0]
    visit.page.select_option("#filter [name=criterion]", "cement")
    assert visit.count == "0 of 50,001 files, 0 patients"
    visit.page.check("#filter [name=every]")
    flagged = int((ledger["all_criteria"] == "cement?").sum())
    assert visit.count.startswith(f"{flagged:,} of")
    visit.page.click("#filter [type=reset]")
    visit.page.wait_for_function("count.textContent.startsWith('50,001')")
    visit.page.select_option("#filter [name=status]", "included")
    assert visit.count.startswith(f"{large.flow['included']['files']:,} of")
    visit.page.fill("#filter [name=patient]", wanted["patient_key"].iloc[0].upper())
    assert visit.count.endswith("of 50,001 files, 1 patients")


def test_only_rows_in_sight_are_in_the_document(
    visit: Visit, large: Tables, large_page: Path
) -> None:
    visit.open(large_page)
    keys = large.ledger["file_key"]
    assert visit.rows < MOST_ROWS
    for share in (0.3, 0.7, 1.0):
        visit.page.evaluate(
            "share => { grid.viewport.scrollTop = share * grid.viewport.scrollHeight }", share
        )
        visit.page.wait_for_function(
            "index => document.getElementById(`row-${index}`)",
            arg=min(int(share * len(keys)) + 3, len(keys) - 1),
        )
        assert visit.rows < MOST_ROWS
    assert visit.cell(len(keys) - 1, "file_key") == keys.iloc[-1]
    visit.page.click("#grid th.file_key button")
    assert visit.cell(0, "file_key") == keys.min()
    visit.page.click("#grid th.file_key button")
    assert visit.cell(0, "file_key") == keys.max()
    assert visit.page.get_attribute("#grid th.file_key", "aria-sort") == "descending"
    visit.page.click("#grid th.criterion button")
    assert visit.cell(0, "status") == "included"


def test_a_patient_is_opened_by_keyboard(visit: Visit, made: Made, page: Path) -> None:
    visit.open(page)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    visit.page.focus("#grid")
    for key in ("End", "PageUp", "Home", "ArrowDown", "ArrowDown", "ArrowUp"):
        visit.page.keyboard.press(key)
    assert visit.page.get_attribute("#grid", "aria-activedescendant") == "row-1"
    visit.page.keyboard.press("Enter")
    patient = visit.cell(1, "patient_key")
    assert visit.page.inner_text("#patient-title") == patient
    assert visit.page.locator("#patient tbody tr").count() == 6
    assert visit.page.locator("#patient svg image").count() == 1
    visit.page.keyboard.press("Escape")
    assert visit.page.evaluate("document.activeElement.id") == "grid"
    visit.page.focus("#grid")
    for _ in range(7):
        visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    assert visit.page.locator("#patient svg rect").count() == 5
    assert "excluded: not lumbar" not in visit.page.inner_text("#patient .pictures")
    assert str(made.config.cohort) not in visit.page.inner_text("#patient")


def test_a_criterion_of_the_flow_leads_to_its_files(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.click("button[data-criterion=tumour]")
    assert visit.count == "36 of 181 files, 6 patients"
    assert visit.page.evaluate("document.activeElement.id") == "grid"
    visit.page.click("button[data-criterion=cement]")
    assert visit.count.startswith("18 of")


def test_on_paper_the_ledger_is_one_sentence(visit: Visit, page: Path) -> None:
    visit.open(page)
    visit.page.emulate_media(media="print")
    assert not visit.page.is_visible("#viewport")
    assert visit.page.is_visible("text=The ledger has 181 rows")
