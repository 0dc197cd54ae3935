"""The report step: everything that the workflow found out, on one page that needs no network."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.config.load import Config
from dsnet.errors import UserError
from dsnet.files import write_text
from dsnet.report import thumbnail
from dsnet.report.describe import describe
from dsnet.report.diagram import draw
from dsnet.report.pack import pack
from dsnet.report.page import Content, render
from dsnet.report.people import read_people
from dsnet.report.record import read_records
from dsnet.report.results import picture_uri, read_figures, read_results
from dsnet.report.tables import read_json, read_tables
from dsnet.report.vault import identities
from dsnet.slices.store import SliceStore


def report(
    *,
    config: Config,
    results: Path,
    index: Path,
    ledger: Path,
    exclusions: Path,
    flow: Path,
    diagram: Path,
    labels: Path,
    split: Path,
    proof: Path,
    store: Path,
    boxes: Path,
    page: Path,
) -> None:
    """Write the report.

    Parameters
    ----------
    config : Config
        All of it: the page shows it, without the places of this machine. `cohort` and `private`
        lead to sex, age and the files of excluded images, where they are at hand.
    results : Path
        The results folder, for whatever there is of tables, figures and trainings.
    index, ledger, exclusions, flow, labels, split, proof, store, boxes : Path
        What the steps of the cohort wrote.
    diagram : Path
        The flow diagram, SVG.
    page : Path
        Written: one HTML file.

    Raises
    ------
    UserError
        If an input is missing, is not what its step writes, or counts something else than another.
    """
    tables = read_tables(
        flow=flow, ledger=ledger, exclusions=exclusions, labels=labels, split=split
    )
    files = aligned(schemas.read(schemas.INDEX, index), tables.ledger)
    map_back = identities(config.cohort, config.private)
    gallery = thumbnail.draw(
        tables.ledger,
        files,
        None if tables.nothing_included else SliceStore(store, boxes),
        map_back,
        config.cohort,
        number=config.report.thumbnails,
    )
    people = read_people(config.cohort, map_back)
    min_cell = 0 if tables.synthetic else config.report.min_cell
    shown, missing = read_results(results)
    content = Content(
        tables=tables,
        config=config,
        diagram=picture_uri(diagram),
        packed=pack(tables, gallery),
        gallery=gallery,
        description=describe(tables, files, people, min_cell=min_cell),
        people_known=people is not None,
        proof=None
        if tables.nothing_included
        else read_json(proof, "distinct", "shared", "unit", "source", "seed"),
        results=shown,
        missing=missing,
        figures=read_figures(results / "figures"),
        records=read_records(results / "models"),
    )
    write_text(page, render(content))


def aligned(index: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Return the index in the order of the ledger, numbered from 0.

    Raises
    ------
    UserError
        If they are not of the same files.
    """
    files = index.set_index("file_key", drop=False)
    if len(files) != len(ledger) or not ledger["file_key"].isin(files.index).all():
        raise UserError(
            "ledger.csv",
            expected=f"the {len(files)} files of index.parquet",
            came=f"{len(ledger)}, or others",
            remedy="run the workflow again, so that all tables come from one run",
        )
    return files.loc[ledger["file_key"]].reset_index(drop=True)


def report_on(config: Config) -> Path:
    """Write the report from what the results folder holds, and return where.

    The workflow's rule waits for all tables and figures; this takes those that are there.
    """
    folder = config.results / "cohort"
    page = config.results / "report.html"
    tables = {
        "flow": folder / "flow.json",
        **{name: folder / f"{name}.csv" for name in ("ledger", "exclusions", "labels", "split")},
    }
    diagram = folder / "flow.svg"
    draw(**tables, svg=diagram, png=diagram.with_suffix(".png"))
    report(
        config=config,
        results=config.results,
        index=folder / "index.parquet",
        diagram=diagram,
        proof=folder / "split_proof.json",
        store=folder / "slices.npy",
        boxes=folder / "slices.csv",
        page=page,
        **tables,
    )
    return page
