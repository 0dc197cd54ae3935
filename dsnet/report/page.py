"""The page itself: a template, a style and a script of the package, filled in."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from dsnet.config.load import Config
from dsnet.report import meaning, record, sample
from dsnet.report.describe import GROUPS, Block
from dsnet.report.record import Record
from dsnet.report.results import Picture, ResultTable
from dsnet.report.stages import many, words
from dsnet.report.tables import UNITS, Json, Tables
from dsnet.report.thumbnail import Gallery
from dsnet.train.manifest import commit

SCRIPTS = ("ledger.js", "grid.js", "patient.js", "start.js")
"""In the order in which they stand on the page."""


@dataclass(frozen=True)
class Content:
    """What the page says; see `dsnet.report.step.report`."""

    tables: Tables
    config: Config
    diagram: str
    packed: Json
    gallery: Gallery
    description: list[Block]
    people_known: bool
    proof: Json | None
    results: list[ResultTable]
    missing: list[str]
    figures: list[Picture]
    records: list[Record]


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
            rule=sample.RULE,
            meaning=meaning,
            settings=record.flat(record.settings(content.config)),
            commit=commit(),
            data=_embedded(content.packed),
            style=_resource("report.css"),
            script=Markup("\n").join(_resource(name) for name in SCRIPTS),
        )
    )


def environment() -> jinja2.Environment:
    """Return the templates; a name that nobody filled in is an error, text is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dsnet.report"),
        autoescape=jinja2.select_autoescape(("html.jinja",), default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = "{:,}".format
    made.filters["many"] = many
    made.filters["words"] = words
    return made


def _resource(name: str) -> Markup:
    """Return a file of the package, which is our own and needs no escaping."""
    text = (files("dsnet.report") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own style or script


def _embedded(value: Any) -> Markup:
    """Return JSON that cannot end the element that it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - nothing in it can be read as markup
