"""The report step: everything that the workflow computed, on one page that needs no network."""

import base64
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dsnet.audit.explain import count_of
from dsnet.config.load import Config
from dsnet.files import write_text
from dsnet.report import measured, provenance
from dsnet.report.counts import UNITS, Tables, read_tables, words
from dsnet.report.describe import GROUPS, Block, describe
from dsnet.report.diagram import draw
from dsnet.report.embedded import Gallery, embed, gallery
from dsnet.report.measured import Picture, ResultTable, read_figures, read_result_tables
from dsnet.report.provenance import Record, read_records
from dsnet.results import Json, Results
from dsnet.slices.store import SliceStore
from dsnet.slices.thumbnails import RULE
from dsnet.step import run
from dsnet.train.manifest import commit

SCRIPTS = ("ledger.js", "grid.js", "patient.js", "start.js")
"""In the order in which they stand on the page."""


@dataclass(frozen=True)
class Content:
    """What the page says.

    Attributes
    ----------
    tables : Tables
    config : Config
    diagram : str
        The flow diagram, SVG, as a ``data:`` URI.
    embedded : dict
        As `dsnet.report.embedded.embed` returns it.
    pictures : Gallery
    description : list of Block
    proof : dict or None
        The split's; None where nothing is included.
    results : list of ResultTable
    missing : list of str
        Tables that were not made.
    figures : list of Picture
    records : list of Record
    """

    tables: Tables
    config: Config
    diagram: str
    embedded: Json
    pictures: Gallery
    description: list[Block]
    proof: Json | None
    results: list[ResultTable]
    missing: list[str]
    figures: list[Picture]
    records: list[Record]


def report(*, config: Config, results: Path, page: Path) -> None:
    """Write the report.

    Parameters
    ----------
    config : Config
        All of it: the page shows it, without the folders of this machine.
    results : Path
        The results folder: the cohort's tables, and those tables, figures and trainings that
        exist.
    page : Path
        Written: one HTML file.

    Raises
    ------
    UserError
        If a table is missing, is not what its step writes, or counts something else than another.
    """
    read = Results(results)
    tables = read_tables(read)
    pictures = gallery(
        tables.ledger,
        read.index,
        None
        if tables.nothing_included
        else SliceStore(read.cohort / "slices.npy", read.cohort / "slices.csv"),
        read.thumbnails,
        number=config.report.thumbnails,
    )
    min_cell = 0 if tables.synthetic else config.report.min_cell
    reported, missing = read_result_tables(read)
    content = Content(
        tables=tables,
        config=config,
        diagram=_uri(draw(tables).svg()),
        embedded=embed(tables, pictures),
        pictures=pictures,
        description=describe(tables, read.index, read.patients, min_cell=min_cell),
        proof=None if tables.nothing_included else read.split_proof,
        results=reported,
        missing=missing,
        figures=read_figures(read),
        records=read_records(read),
    )
    write_text(page, render(content))


def render(content: Content) -> str:
    """Return the page: one HTML file without any reference to another."""
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            content=content,
            flow=content.tables.flow,
            groups=GROUPS,
            units=UNITS,
            rule=RULE,
            measured=measured,
            settings=provenance.flat(provenance.settings(content.config)),
            commit=commit(),
            data=_json(content.embedded),
            style=_resource("report.css"),
            script=Markup("\n").join(_resource(name) for name in SCRIPTS),
        )
    )


def environment() -> jinja2.Environment:
    """Return the templates; a name without a value is an error, text is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dsnet.report"),
        autoescape=jinja2.select_autoescape(("html.jinja",), default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = "{:,}".format
    made.filters["count_of"] = count_of
    made.filters["words"] = words
    return made


def _uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def _resource(name: str) -> Markup:
    """Return a file of the package, which is our own and needs no escaping."""
    text = (files("dsnet.report") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own style or script


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element that it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - nothing in it can be read as markup


if __name__ == "__main__":
    run(report)
