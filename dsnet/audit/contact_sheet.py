"""What a reader should look at: annotated slices before training, and a list of doubtful ones.

The contact sheet, ``python -m dsnet.audit.contact_sheet``, is a PNG and a page. Whether a box lies
on the vertebra that its annotation names cannot be decided from a file: a shift by one level, or
left and right exchanged, leaves no trace in it. A reader who looks over a hundred slices sees such
a systematic error at once. The review list is a table ready to become ``review.csv``.
"""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from dsnet.config.output import Report
from dsnet.errors import UserError
from dsnet.evaluate.provenance import data_note
from dsnet.files import whole, write_csv, write_text
from dsnet.results import Results
from dsnet.schemas import CLASSES, LEVELS
from dsnet.slices import SliceStore
from dsnet.slices.thumbnails import bone_window
from dsnet.step import run

RULE = (
    "Slices with a flagged box come first, those with the least bone before the others. Of the "
    "rest, patients take turns in the order of the slice store, and levels take turns within each "
    "patient."
)

_EDGE_PX = 224
_GAP_PX = 8
_LINE_PX = 15
_COLUMNS = 6
_JPEG_QUALITY = 85
_GROUND, _INK, _BOX, _FLAGGED = "#12161b", "#e4e9ee", "#f2b84b", "#ff6b6b"
_STYLE = """
body { margin: 2rem; background: #fff; color: #1b1f24; font: 15px/1.5 system-ui, sans-serif; }
p { max-width: 52rem; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem;
     padding: 0; list-style: none; }
img { display: block; width: 100%; height: auto; }
figure { margin: 0; border: 4px solid transparent; }
figure.flagged { border-color: #a11d24; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
strong { color: #a11d24; }
"""


def contact_sheet(*, report: Report, results: Path, png: Path, page: Path) -> None:
    """Write annotated slices with their boxes, those with a flagged box first.

    Parameters
    ----------
    report : Report
        Its ``contact_images`` bounds the sample.
    results : Path
        The results folder: the slice store and `schemas.BOX_CHECKS`.
    png : Path
        Written: all pictures in one grid.
    page : Path
        Written: the same pictures on one HTML page that needs no other file, with the keys by which
        ``review.csv`` names a file.

    Raises
    ------
    UserError
        If a table is missing, or is of another run than the others.
    """
    read = Results(results)
    store = SliceStore(read.cohort / "slices.npy", read.cohort / "slices.csv")
    checks = read.box_checks
    chosen = choose_images(checks, report.contact_images)
    rows = {key: row for row, key in enumerate(store.image_keys)}
    cells = [_cell(store, rows[key], checks[checks["image_key"] == key]) for key in chosen]
    title = f"Annotated slices of {data_note(read.slices)}"
    counts = _counts(checks, len(cells))
    with whole(png) as temporary:
        _grid(cells, [title, counts]).save(temporary, "PNG", optimize=True)
    write_text(page, _page(cells, title, counts))


def choose_images(checks: pd.DataFrame, number: int) -> list[str]:
    """Return the image keys of at most `number` images, in the order of `RULE`.

    Parameters
    ----------
    checks : DataFrame
        `dsnet.schemas.BOX_CHECKS`, in the order of the store.
    number : int
    """
    least = checks.sort_values("bone_fraction", kind="stable").drop_duplicates("image_key")
    flagged = checks.loc[checks["flag"] != "", "image_key"]
    doubtful = least.loc[least["image_key"].isin(flagged), "image_key"].tolist()
    rest = checks[~checks["image_key"].isin(flagged)].drop_duplicates("image_key")
    patient = pd.factorize(rest["patient_key"])[0]
    # Patients begin with different levels, so that a short sheet shows all of them.
    level_order = (rest["level"].map(LEVELS.index) - patient) % len(LEVELS)
    level_turn = rest.groupby(["patient_key", "level"]).cumcount()
    rest = rest.assign(patient=patient, level_turn=level_turn, level_order=level_order)
    rest = rest.sort_values(["level_turn", "level_order"], kind="stable")
    rest = rest.assign(turn=rest.groupby("patient").cumcount()).sort_values(["turn", "patient"])
    return [*doubtful, *rest["image_key"]][:number]


@dataclass(frozen=True)
class Cell:
    """One slice of the sheet.

    Attributes
    ----------
    picture : Image
        In RGB, `_EDGE_PX` squared, with its boxes.
    boxes : tuple of str
        A line for each box: level, class and share of bone.
    patient_key, file_key : str
    flagged : bool
    """

    picture: Image.Image
    boxes: tuple[str, ...]
    patient_key: str
    file_key: str
    flagged: bool


def _cell(store: SliceStore, row: int, checks: pd.DataFrame) -> Cell:
    grey = Image.fromarray(bone_window(store.image(row)))
    scale = _EDGE_PX / grey.width
    picture = grey.resize((_EDGE_PX, _EDGE_PX), Image.Resampling.LANCZOS).convert("RGB")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    of_level = checks.set_index("level")
    lines = []
    for level, label, edges in zip(
        store.levels(row), store.labels(row), store.boxes(row), strict=True
    ):
        box = (edges * scale).tolist()
        bone, flag = of_level.loc[level, ["bone_fraction", "flag"]]
        colour = _FLAGGED if flag else _BOX
        draw.rectangle(box, outline=colour, width=3 if flag else 2)
        draw.text((box[0], box[1] - 2), level, fill=colour, font=font, anchor="lb")
        lines.append(f"{level} {CLASSES[label - 1]}, {bone:.1%} bone")
    first = checks.iloc[0]
    flagged = bool((checks["flag"] != "").any())
    return Cell(picture, tuple(lines), first["patient_key"], first["file_key"], flagged)


def _counts(checks: pd.DataFrame, shown: int) -> str:
    images, patients = (checks[name].nunique() for name in ("image_key", "patient_key"))
    flagged = checks[checks["flag"] != ""]
    return (
        f"{len(checks):,} boxes on {images:,} slices of {patients:,} patients; "
        f"{len(flagged):,} boxes with too little bone for a vertebral body, "
        f"on {flagged['image_key'].nunique():,} slices; {shown:,} slices here"
    )


def _grid(cells: list[Cell], head: list[str]) -> Image.Image:
    """Return all cells in one picture, the patient and the boxes below each."""
    font = ImageFont.load_default(12)
    lines = 1 + max(len(cell.boxes) for cell in cells)
    width, height = _EDGE_PX + _GAP_PX, _EDGE_PX + _GAP_PX + lines * _LINE_PX
    top = _GAP_PX + len(head) * 2 * _LINE_PX
    columns = min(_COLUMNS, len(cells))
    size = _GAP_PX + max(columns, 4) * width, top + -(-len(cells) // columns) * height
    sheet = Image.new("RGB", size, _GROUND)
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(head):
        draw.text((_GAP_PX, _GAP_PX + number * 2 * _LINE_PX), text, fill=_INK, font=font)
    for number, cell in enumerate(cells):
        x = _GAP_PX + number % columns * width
        y = top + number // columns * height
        sheet.paste(cell.picture, (x, y))
        colour = _FLAGGED if cell.flagged else _INK
        if cell.flagged:
            draw.rectangle((x - 2, y - 2, x + _EDGE_PX + 1, y + _EDGE_PX + 1), None, colour, 2)
        for line, text in enumerate((cell.patient_key, *cell.boxes)):
            draw.text((x, y + _EDGE_PX + line * _LINE_PX), text, fill=colour, font=font)
    return sheet


def _page(cells: list[Cell], title: str, counts: str) -> str:
    """Return the page: one HTML file without any reference to another."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>",
            f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(counts)}.</p>\n<p>{RULE}</p>",
            "<p>Look for boxes beside the vertebral body, for bodies that are cut, and for levels"
            " that do not follow one another. A file that is wrong is named in review.csv by its"
            " key (F-...) and excluded there; mend the annotations where many are.</p>",
            "<ul>",
            *(_figure(cell) for cell in cells),
            "</ul>\n</html>\n",
        ]
    )


def _figure(cell: Cell) -> str:
    stream = io.BytesIO()
    cell.picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    picture = base64.b64encode(stream.getvalue()).decode("ascii")
    boxes = "; ".join(cell.boxes)
    kind = ' class="flagged"' if cell.flagged else ""
    flag = "<strong>too little bone for a vertebral body</strong><br>" if cell.flagged else ""
    return (
        f"<li><figure{kind}>"
        f'<img src="data:image/jpeg;base64,{picture}" alt="CT slice with {boxes}">'
        f"<figcaption>{flag}{boxes}<br>{cell.patient_key}<br>{cell.file_key}</figcaption>"
        "</figure></li>"
    )


REVIEW_COLUMNS = ("scope", "id", "decision", "code", "reason", "reviewer", "date", "patient_key")
"""Those of ``review.csv`` (decision, reviewer and date are for the reader), and the patient."""

_FLAG = "?"


def write_review_list(output: Path, results: Results, detector: str, *, score: float) -> int:
    """Write `review_list` of the results and return its number of rows.

    Parameters
    ----------
    output : Path
        CSV to write.
    results : Results
        The ledger, and if there are any, the checks of boxes and the detections on the validation
        and test subsets.
    detector : str
        ``backbone/attention/seedN``.
    score : float
        A detection below it is unsure.

    Raises
    ------
    UserError
        If there is no ledger, or `output` exists: it may hold a reader's work.
    """
    if output.exists():
        raise UserError(
            str(output),
            expected="a new file",
            came="one that exists and may hold decisions",
            remedy="rename it, or give another --output",
        )
    doubts = pd.concat([little_bone(results), unsure(results, detector, score=score)])
    rows = review_list(results.ledger, doubts)
    write_csv(output, rows)
    return len(rows)


def review_list(ledger: pd.DataFrame, doubts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per included file that a rule or a check flagged, or a detector is unsure of.

    Parameters
    ----------
    ledger : DataFrame
        `dsnet.schemas.LEDGER`.
    doubts : DataFrame
        As `little_bone` and `unsure` return them.

    Returns
    -------
    DataFrame
        The columns `REVIEW_COLUMNS`, in the order of patient and file; ``reason`` says why.
    """
    included = ledger[(ledger["status"] == "included")]
    flagged = included[included["all_criteria"].str.contains(_FLAG, regex=False)]
    codes = flagged["all_criteria"].str.replace(_FLAG, "", regex=False)
    rules = flagged.assign(code=codes, reason=flagged["evidence"])
    doubtful = included.drop(columns=["code", "reason"]).merge(doubts, on="image_key")
    both = pd.concat([rules, doubtful])[["patient_key", "file_key", "code", "reason"]]
    rows = both.groupby(["patient_key", "file_key"], as_index=False)[["code", "reason"]].agg(
        "; ".join
    )
    rows = rows.assign(scope="file", id=rows["file_key"], decision="", reviewer="", date="")
    return rows[list(REVIEW_COLUMNS)]


def little_bone(results: Results) -> pd.DataFrame:
    """Return the boxes in which too little is bone for any vertebral body.

    Parameters
    ----------
    results : Results
        No box was checked before the slices were stored.

    Returns
    -------
    DataFrame
        ``image_key``, ``code`` and ``reason``.
    """
    if not (results.cohort / "box_checks.csv").exists():
        return pd.DataFrame(columns=["image_key", "code", "reason"], dtype=str)
    flagged = results.box_checks[results.box_checks["flag"] != ""]
    measured = zip(flagged["bone_fraction"], flagged["level"], strict=True)
    reasons = [f"{bone:.1%} bone in the box of {level}" for bone, level in measured]
    return flagged[["image_key"]].assign(code=flagged["flag"], reason=reasons).astype(str)


def unsure(results: Results, detector: str, *, score: float) -> pd.DataFrame:
    """Return the images whose surest detection stays below `score`.

    Parameters
    ----------
    results : Results
    detector : str
        ``backbone/attention/seedN``; no image is unsure before it was run.
    score : float
        In [0, 1].

    Returns
    -------
    DataFrame
        ``image_key``, ``code`` and ``reason``.
    """
    folder = results.folder / "predictions" / detector
    subsets = [name for name in ("validation", "test") if (folder / f"{name}.parquet").exists()]
    if not subsets:
        return pd.DataFrame(columns=["image_key", "code", "reason"], dtype=str)
    detections = pd.concat([results.predictions(detector, subset) for subset in subsets])
    images = results.split.loc[results.split["subset"].isin(subsets), "image_key"]
    best = detections.groupby("image_key")["score"].max().reindex(images, fill_value=0.0)
    low = best[best < score]
    reasons = [f"surest detection {value:.2f}" if value else "nothing detected" for value in low]
    table = {"image_key": low.index.astype(str), "code": "low_confidence", "reason": reasons}
    return pd.DataFrame(table, dtype=str)


if __name__ == "__main__":
    run(contact_sheet)
