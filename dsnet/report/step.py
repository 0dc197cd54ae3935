"""The report step: everything that the workflow computed, on one page that needs no network.

The page's script shows the ledger in columns, each text once, and pictures of images.
"""

import base64
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from dsnet.audit.explain import remedy
from dsnet.config.load import Config
from dsnet.files import write_text
from dsnet.match.patients import near_misses_sentence
from dsnet.report.counts import GROUPS, UNITS, Tables, describe, read_tables, words
from dsnet.report.diagram import draw
from dsnet.report.measured import (
    MEANINGS,
    OF_IMAGES,
    OPTIONAL,
    data_uri,
    read_figures,
    read_result_tables,
)
from dsnet.report.methods import environment, flat, paragraph, read_records, settings
from dsnet.results import Json, Results
from dsnet.schemas import BOX, CLASSES
from dsnet.slices import SliceStore
from dsnet.slices.thumbnails import RULE, choose, picture, showable
from dsnet.source_digest import commit
from dsnet.step import run

SCRIPTS = ("table.js", "grid.js", "patient.js", "start.js")
"""In the order in which they stand on the page."""


COLUMNS = (
    "patient_key",
    "series_key",
    "criterion",
    "evidence",
    "decided_by",
    "all_criteria",
    "level",
)
"""Of the ledger, with the level that a slice shows."""


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
    wanted = (config.split.repeats, config.split.learning_curve, config.external)
    asked_for = dict(zip(OPTIONAL, map(bool, wanted), strict=True))
    figures, missing_figures = read_figures(read, shareable=shareable)
    records = read_records(read)
    proof = read.split_proof if tables.split_made else None
    description = describe(tables, read.index, read.patients, min_cell=min_cell, strict=shareable)
    content = {
        "diagram": data_uri("image/svg+xml", draw(tables).rendered("svg")),
        "narrow_diagram": data_uri("image/svg+xml", draw(tables, narrow=True).rendered("svg")),
        "pictures": pictures,
        "description": description,
        "min_cell": min_cell,
        "proof": proof,
        "results": reported,
        "missing": [
            *_missing_steps(read, tables),
            *([] if records else ["trainings"]),
            *(f"{name}.csv" for name in missing_tables if asked_for.get(name, True)),
            *(["figures"] if not figures else (f"the figure {name}" for name in missing_figures)),
        ],
        "figures": figures,
        "records": records,
        "shareable": shareable,
        "methods": paragraph(tables, config, proof, reported),
    }
    embedded = None if shareable else embed(tables, read.exams, pictures)
    write_text(page, render(tables, config, embedded, content))


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


def render(tables: Tables, config: Config, embedded: Json | None, content: Json) -> str:
    """Return the page: one HTML file without any reference to another.

    Parameters
    ----------
    tables : Tables
    config : Config
    embedded : dict or None
        As `embed` returns it; None on a page that may be shared.
    content : dict
        What else the template names, as `report` gathers it.
    """
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            content=content,
            tables=tables,
            flow=tables.flow,
            groups=GROUPS,
            units=UNITS,
            rule=RULE,
            of_images=OF_IMAGES,
            meanings_of=MEANINGS,
            remedy=remedy,
            near_misses=near_misses_sentence(tables.flow.get("identity", {})),
            settings=flat(settings(config)),
            commit=commit(),
            data=_json(embedded),
            style=_resource("report.css"),
            script=Markup("\n").join(_resource(name) for name in SCRIPTS),
        )
    )


def _resource(name: str) -> Markup:
    """Return a file of the package, which is our own and needs no escaping."""
    text = (files("dsnet.report") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own style or script


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element that it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - nothing in it can be read as markup


@dataclass(frozen=True)
class Gallery:
    """The pictures, and of how many images.

    Attributes
    ----------
    thumbnails : list of dict
        Each with ``row`` of the ledger, from 0; ``source``, a ``data:`` URI of a grey JPEG;
        ``width_px`` and ``height_px``; ``boxes``, of an included image: edges as shares of the
        picture's width and height, ``level`` and ``label``.
    candidates : int
        Images that might have been chosen.
    failed : int
        Images chosen whose file could not be read again, or forbids it.
    with_excluded : bool
        Whether there are pictures of excluded images.
    """

    thumbnails: list[Json]
    candidates: int
    failed: int
    with_excluded: bool


def gallery(
    ledger: pd.DataFrame,
    index: pd.DataFrame,
    store: SliceStore | None,
    excluded: pd.DataFrame | None,
    *,
    number: int,
) -> Gallery:
    """Return pictures of at most `number` images, chosen by `dsnet.slices.thumbnails.RULE`.

    Parameters
    ----------
    ledger, index : DataFrame
        Under `dsnet.schemas`, in the same order.
    store : SliceStore or None
        None where nothing is included.
    excluded : DataFrame or None
        `dsnet.schemas.THUMBNAILS`; without it only included images are chosen.
    number : int
    """
    rows = {key: row for row, key in enumerate(store.image_keys)} if store else {}
    candidates = showable(ledger, index)
    if excluded is None:
        candidates &= ledger["status"] == "included"
    chosen = choose(ledger, candidates, number)
    files = {} if excluded is None else excluded.set_index("file_key").to_dict("index")
    thumbnails = []
    for ledger_row in chosen:
        key, file_key = ledger.loc[ledger_row, ["image_key", "file_key"]]
        if store and ledger["status"][ledger_row] == "included":
            thumbnails.append(_of_slice(ledger_row, store, rows[str(key)]))
        elif file_key in files:
            cells = (files[file_key][name] for name in ("width_px", "height_px", "jpeg_base64"))
            thumbnails.append(_thumbnail(ledger_row, *cells, boxes=[]))
    failed = len(chosen) - len(thumbnails)
    return Gallery(thumbnails, int(candidates.sum()), failed, excluded is not None)


def _of_slice(ledger_row: int, store: SliceStore, row: int) -> Json:
    image = store.image(row)
    names = [CLASSES[label - 1] for label in store.labels(row)]
    edges = np.round(store.boxes(row) / len(image), 4).astype(float).tolist()
    boxes = [
        {**dict(zip(BOX, box, strict=True)), "level": level, "label": name}
        for box, level, name in zip(edges, store.levels(row), names, strict=True)
    ]
    return _thumbnail(ledger_row, *picture(image, (1.0, 1.0)), boxes=boxes)


def _thumbnail(row: int, width_px: int, height_px: int, jpeg: str, *, boxes: list[Json]) -> Json:
    return {
        "row": row,
        "source": f"data:image/jpeg;base64,{jpeg}",
        "width_px": width_px,
        "height_px": height_px,
        "boxes": boxes,
    }


def embed(tables: Tables, exams: pd.DataFrame, pictures: Gallery) -> dict[str, Any]:
    """Return everything that the page's script shows, ready for JSON.

    Parameters
    ----------
    tables : Tables
    exams : DataFrame
        `dsnet.schemas.EXAMS`.
    pictures : Gallery

    Returns
    -------
    dict
        ``files`` and ``patients``, each with the number of its ``rows`` and its ``columns`` (see
        `column`; ``keys`` of ``files`` as `keys` packs them); ``criteria`` in order;
        ``thumbnails`` by row of the ledger.
    """
    ledger = tables.ledger
    levels = _joined(tables.labels, "image_key", "level", " ")
    ledger = ledger.assign(level=[levels.get(key, "") for key in ledger["image_key"]])
    ledger.loc[ledger["status"] == "excluded", "level"] = ""
    patients = patient_table(tables, exams)
    return {
        "files": {
            "rows": len(ledger),
            "keys": {name: keys(ledger[name]) for name in ("file_key", "image_key")},
            "columns": {name: column(ledger[name]) for name in COLUMNS},
        },
        "patients": {
            "rows": len(patients),
            "keys": {},
            "columns": {name: column(patients[name].astype(str)) for name in patients},
        },
        "criteria": [
            {
                **{name: step[name] for name in ("slug", "code", "reason", "threshold")},
                "words": words(step["slug"]),
                "remedy": remedy(step["slug"]),
            }
            for step in tables.flow["steps"]
        ],
        "thumbnails": {one["row"]: one for one in pictures.thumbnails},
    }


def patient_table(tables: Tables, exams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per patient, in the order of ``exclusions.csv``.

    Returns
    -------
    DataFrame
        ``patient_key``, ``criterion``, ``n_files`` and ``n_included``; ``interval_days`` from the
        DXA exam that grades a study to the CT, of several studies separated by commas; ``subset``
        and ``stratum``, "" where there is none.
    """
    pairs = tables.split[["patient_key", "subset"]].drop_duplicates().sort_values("subset")
    subsets = _joined(pairs, "patient_key", "subset", " and ")
    strata = dict(zip(tables.split["patient_key"], tables.split["stratum"], strict=True))
    nearest = exams.loc[exams["interval_days"] != ""].query("status == 'nearest'")
    days = _joined(nearest, "patient_key", "interval_days", ", ")
    rows = tables.exclusions[["patient_key", "criterion", "n_files", "n_included"]]
    return rows.assign(
        interval_days=[days.get(key, "") for key in rows["patient_key"]],
        subset=[subsets.get(key, "") for key in rows["patient_key"]],
        stratum=[strata.get(key, "") for key in rows["patient_key"]],
    )


def keys(pseudonyms: "pd.Series[str]") -> str:
    """Return the 16 digits of each pseudonym as 8 bytes, all in base64."""
    digits = "".join(key[2:] if key else "0" * 16 for key in pseudonyms)
    return base64.b64encode(bytes.fromhex(digits)).decode("ascii")


def column(texts: "pd.Series[str]") -> dict[str, Any]:
    """Return a column as its distinct texts, and the index of each row's own.

    Returns
    -------
    dict
        ``values``, list of str in order of first use; ``bits``, 16 or 32; ``codes``, unsigned
        little-endian integers of so many bits, in base64.
    """
    codes, values = pd.factorize(texts)
    bits = 16 if len(values) < 1 << 16 else 32
    packed: NDArray[Any] = codes.astype(np.dtype(f"<u{bits // 8}"))
    return {
        "values": [str(value) for value in values],
        "bits": bits,
        "codes": base64.b64encode(packed.tobytes()).decode("ascii"),
    }


def _joined(rows: pd.DataFrame, key: str, text: str, separator: str) -> dict[str, str]:
    """Return all texts of each key, in order."""
    joined = rows.groupby(key, sort=False)[text].agg(separator.join)
    return {str(name): value for name, value in joined.items()}


if __name__ == "__main__":
    run(report)
