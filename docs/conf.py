"""The documentation site: `make docs` builds it, without network."""

import inspect
import re
import shutil
from pathlib import Path

import pandera.pandas as pa
from sphinx.application import Sphinx

from dsnet import __version__, schemas, slice_tables
from dsnet.config.cohort import Exclude
from dsnet.exclude.criteria import CRITERIA, criteria_table
from dsnet.phi.step import NOT_SEARCHED

project = "dsnet"
author = "The dsnet developers"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = __version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "generated/not_searched.md", "predict.ipynb"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the sections of the docstrings have them, with shapes and units
html_theme = "pydata_sphinx_theme"
html_title = "dsnet"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False

GENERATED = Path(__file__).parent / "generated"


def setup(app: Sphinx) -> None:
    """Have the pages that follow from the source written before they are read."""
    app.connect("builder-inited", write_pages, priority=100)  # before autosummary adds its own
    app.connect("source-read", link_rows)


def link_rows(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001 - as Sphinx calls it
    """Make links to a row of the table of interpretations such that MyST, too, follows them."""
    up = "../" * page.count("/")
    row = r"\[([^\]]*)\]\((?:\.\./)?interpretations\.md#(\d+)\)"
    source[0] = re.sub(row, rf'<a href="{up}interpretations.html#\2">\1</a>', source[0])


def write_pages(app: Sphinx) -> None:  # noqa: ARG001 - as Sphinx calls it
    """Write the pages on criteria and tables, and what the search for identities leaves out."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    (GENERATED / "criteria.md").write_text(criteria_page(), encoding="utf-8")
    (GENERATED / "tables.md").write_text(tables_page(), encoding="utf-8")
    not_searched = "".join(f"- {one}\n" for one in NOT_SEARCHED)
    (GENERATED / "not_searched.md").write_text(not_searched, encoding="utf-8")


def criteria_page() -> str:
    """Return each exclusion criterion with its reason, its source and what it looks at."""
    described = {row.slug: row for row in criteria_table(Exclude())}
    lines = [
        "# Exclusion criteria",
        "",
        "In the order in which they count. Each has a section in the config, "
        "`exclude.criteria`; `dsnet criteria` prints the thresholds in force.",
    ]
    for one in CRITERIA:
        row = described[one.slug]
        docstring = " ".join((one.evaluate.__doc__ or "").split())
        lines += ["", f"## {one.slug}", "", f"{one.reason} {docstring}", ""]
        facts = {
            "Code": one.code,
            "Excludes": {"file": "the image", "patient": "the patient"}[one.scope],
            "Default threshold": row.threshold or "none",
            "Source": one.source,
            "A reader's `keep` lifts it": "no" if one.final else "yes",
        }
        lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts.items())]
    return "\n".join(lines) + "\n"


def tables_page() -> str:
    """Return the columns of each table that crosses a step, with the comments of its schema."""
    lines = [
        "# Tables",
        "",
        "What each step writes is checked when it is written and when it is read "
        "(`dsnet.schemas`). Keys are pseudonyms; lengths are in mm, px or HU, as the names say.",
    ]
    tables = [table for table in vars(schemas).values() if isinstance(table, pa.DataFrameSchema)]
    for table in tables:
        meanings = column_comments(table.name)
        lines += ["", f"## {table.name}", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [
            f"| `{column}` | {facts.dtype} | {meanings.get(column, '')} |"
            for column, facts in table.columns.items()
        ]
    return "\n".join(lines) + "\n"


def column_comments(table: str) -> dict[str, str]:
    """Return the comment above each column of a table in the source of its schema."""
    source = inspect.getsource(schemas) + inspect.getsource(slice_tables)
    body = source.partition(f'name="{table}"')[2].partition("\n)\n")[0]
    comments: dict[str, str] = {}
    words: list[str] = []
    for line in map(str.strip, body.splitlines()):
        if line.startswith("# "):
            words.append(line[2:])
        elif line.startswith('"'):
            comments[line.split('"')[1]] = " ".join(words).replace("|", "\\|")
            words = []
    return comments
