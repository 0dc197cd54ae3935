"""The report step: everything that the workflow computed, on one page that needs no network."""

import base64
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dsnet.audit.explain import count_of, remedy
from dsnet.config.load import Config
from dsnet.files import write_text
from dsnet.match.patients import near_misses_sentence
from dsnet.report import measured, provenance
from dsnet.report.counts import UNITS, Tables, read_tables, words
from dsnet.report.describe import GROUPS, Block, describe
from dsnet.report.diagram import draw
from dsnet.report.embedded import Gallery, embed, gallery
from dsnet.report.measured import Picture, ResultTable, read_figures, read_result_tables
from dsnet.report.methods import paragraph
from dsnet.report.provenance import Record, read_records
from dsnet.results import Json, Results
from dsnet.slices.store import SliceStore
from dsnet.slices.thumbnails import RULE
from dsnet.step import run
from dsnet.train.manifest import commit

SCRIPTS = ("table.js", "grid.js", "patient.js", "start.js")
"""In the order in which they stand on the page."""


@dataclass(frozen=True)
class Content:
    """What the page says.

    Attributes
    ----------
    tables : Tables
    config : Config
    diagram, narrow_diagram : str
        The flow diagram, SVG, as ``data:`` URIs; the second one for a telephone.
    embedded : dict or None
        As `dsnet.report.embedded.embed` returns it; None if the page is `shareable`.
    pictures : Gallery
    description : list of Block
    min_cell : int
        Smaller numbers of patients are hidden in `description`.
    proof : dict or None
        The split's; None where there is no split.
    results : list of ResultTable
    missing : list of str
        What was not made yet.
    figures : list of Picture
    records : list of Record
    shareable : bool
        Whether pictures and rows of patients and files were left out.
    methods : str
        A paragraph for a methods section; "" without a split.
    """

    tables: Tables
    config: Config
    diagram: str
    narrow_diagram: str
    embedded: Json | None
    pictures: Gallery
    description: list[Block]
    min_cell: int
    proof: Json | None
    results: list[ResultTable]
    missing: list[str]
    figures: list[Picture]
    records: list[Record]
    shareable: bool
    methods: str


def report(*, config: Config, results: Path, page: Path, shareable: bool = False) -> None:
    """Write the report.

    Parameters
    ----------
    config : Config
        All of it: the page shows it, without the folders of this machine.
    results : Path
        The results folder: the ledger, and what else there is; the page says what is missing.
    page : Path
        Written: one HTML file.
    shareable : bool
        Leave out what may not leave the hospital: images, the rows of single patients and files,
        and small numbers of patients (``report.min_cell``), also of a synthetic cohort.

    Raises
    ------
    UserError
        If there is no ledger, or a table is not what its step writes or counts something else than
        another.
    """
    read = Results(results)
    tables = read_tables(read)
    slices = read.cohort / "slices.npy"
    pictures = gallery(
        tables.ledger,
        read.index,
        SliceStore(slices, slices.with_suffix(".csv"))
        if slices.exists() and not tables.nothing_included
        else None,
        read.thumbnails,
        number=0 if shareable else config.report.thumbnails,
    )
    min_cell = 0 if tables.synthetic and not shareable else config.report.min_cell
    reported, missing_tables = read_result_tables(read)
    asked_for = set(measured.TABLES) - {
        name
        for name, wanted in zip(
            measured.OPTIONAL,
            (config.split.repeats, config.split.learning_curve, config.external),
            strict=True,
        )
        if not wanted
    }
    figures, missing_figures = read_figures(read, shareable=shareable)
    records = read_records(read)
    proof = read.split_proof if tables.split_made else None
    content = Content(
        tables=tables,
        config=config,
        diagram=_uri(draw(tables).svg()),
        narrow_diagram=_uri(draw(tables, narrow=True).svg()),
        embedded=None if shareable else embed(tables, read.exams, pictures),
        pictures=pictures,
        description=describe(
            tables, read.index, read.patients, min_cell=min_cell, strict=shareable
        ),
        min_cell=min_cell,
        proof=proof,
        results=reported,
        missing=[
            *_missing_steps(read, tables),
            *([] if records else ["trainings"]),
            *(f"{name}.csv" for name in missing_tables if name in asked_for),
            *(["figures"] if not figures else (f"the figure {name}" for name in missing_figures)),
        ],
        figures=figures,
        records=records,
        shareable=shareable,
        methods=paragraph(tables, config, proof, reported),
    )
    write_text(page, render(content))


def _missing_steps(results: Results, tables: Tables) -> list[str]:
    """Return what the steps of the cohort have not made yet; nothing included makes nothing."""
    wanted = {
        "labels": not tables.labels.empty,
        "split": tables.split_made,
        "slices": (results.cohort / "slices.json").exists(),
    }
    if tables.nothing_included:
        wanted = {}
    wanted["thumbnails of excluded images"] = results.thumbnails is not None
    return [name for name, made in wanted.items() if not made]


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
            remedy=remedy,
            near_misses=near_misses_sentence(content.tables.flow.get("identity", {})),
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
