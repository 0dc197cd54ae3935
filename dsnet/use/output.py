"""What is written of a result: tables, JSON, pictures, and one page; none of them names a person.

Pictures show the grid that the network saw, in standard orientation.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from dsnet.figures import CLASS_LOOKS
from dsnet.files import whole, write_csv, write_json, write_text
from dsnet.schemas import BOX
from dsnet.slices.thumbnails import bone_window
from dsnet.use.predict import Result, image_of
from dsnet.use.trained import render

FORMAT_VERSION = 1
"""Of ``predictions.json`` (docs/predict.md)."""

_EDGE_PX = 384
_CELL_PX, _COLUMNS, _MOST_CELLS = 192, 6, 60
_LINE_PX = 15
_GROUND, _INK, _WARNING = "#12161b", "#e4e9ee", "#ff6b6b"


def write_result(result: Result, folder: Path, *, dicom: bool = True) -> None:
    """Write everything of a result into a folder; what an earlier call wrote there is replaced.

    Parameters
    ----------
    result : Result
    folder : Path
        ``predictions.csv`` (boxes), ``slices.csv``, ``grades.csv``, ``predictions.json`` (all of
        them, and the model), ``overlays/``, ``contact/``, ``index.html``.
    dicom : bool
        Whether ``dicom/`` is written, too: SR and SEG, which carry the patient's identity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "predictions.csv", result.boxes.drop(columns="row"))
    write_csv(folder / "slices.csv", result.slices)
    write_csv(folder / "grades.csv", result.grades)
    write_json(folder / "predictions.json", as_json(result))
    pictures = _write_pictures(result, folder)
    objects = _write_dicom(result, folder / "dicom") if dicom else []
    write_text(folder / "index.html", _page(result, pictures, objects))


def as_json(result: Result) -> dict[str, Any]:
    """Return a result as JSON values; docs/predict.md describes each key."""
    facts = result.model.facts
    return {
        "format": "dsnet predictions",
        "format_version": FORMAT_VERSION,
        "notes": list(result.notes),
        "model": {
            "name": facts.name,
            "sha256": result.model.sha256,
            "dsnet": facts.dsnet,
            "commit": facts.commit,
            "cohort": facts.cohort,
            "synthetic": facts.synthetic,
            "temperature": facts.temperature,
            "score": facts.evaluate.score,
            "licence": facts.licence,
        },
        "boxes": _records(result.boxes.drop(columns="row")),
        "slices": _records(result.slices),
        "grades": _records(result.grades),
    }


def overlay_figure(result: Result, row: int) -> Figure:
    """Return a figure of one slice with its boxes; `row` is an index of `Result.slices`."""
    picture = overlay(result, row)
    figure, axes = plt.subplots(figsize=(5, 5.4), layout="constrained")
    plt.close(figure)  # it belongs to the caller, and not to pyplot's list
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title("\n".join(_caption(result, row)), fontsize=8)
    return figure


def overlay(result: Result, row: int) -> Image.Image:
    """Return the picture of one slice with its boxes, in RGB.

    A class differs in colour, and its text says it.
    """
    grid, hu = image_of(result.model, result.study, row)
    scale = _EDGE_PX / len(hu)
    picture = Image.fromarray(bone_window(hu)).resize((_EDGE_PX,) * 2, Image.Resampling.LANCZOS)
    picture = picture.convert("RGB")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    for box in result.boxes[result.boxes["row"] == row].to_dict("records"):
        edges = [edge * scale for edge in grid.box_to_grid(tuple(box[name] for name in BOX))]
        colour = CLASS_LOOKS[box["label"]].colour
        draw.rectangle(edges, outline="white", width=4)
        left, top = edges[0] + 1, edges[1] + 1
        inner = (left, top, max(left, edges[2] - 1), max(top, edges[3] - 1))  # a box may be tiny
        draw.rectangle(inner, None, colour, 2)
        label, level = box["label"], box["level"]
        text = f"{level} {label} {box[f'p_{label}']:.2f}".strip()
        at = (min(edges[0], _EDGE_PX - 150), max(edges[1] - 3, 16))
        draw.rectangle(draw.textbbox(at, text, font=font, anchor="lb"), fill=_GROUND)
        draw.text(at, text, fill=_INK, font=font, anchor="lb")
    return picture


def _caption(result: Result, row: int) -> list[str]:
    facts = result.slices.loc[row]
    lines = [
        f"{facts['patient']}, {facts['series']}, slice {facts['slice']}, z {facts['z_mm']:.1f} mm"
    ]
    if facts["forced"]:
        lines.append("FORCED: " + str(facts["all_criteria"]).replace(";", ", "))
    return [*lines, *([str(facts["look_at"])] if facts["look_at"] else [])]


def _write_pictures(result: Result, folder: Path) -> dict[int, str]:
    """Write an overlay of each predicted slice and a contact sheet of each patient.

    Returns the path of each overlay, relative to `folder`, by the row of the slice.
    """
    pictures = {}
    predicted = result.slices[result.slices["status"] == "predicted"]
    for patient, own in predicted.groupby("patient"):
        cells: list[tuple[Image.Image, list[str]]] = []
        shown = set(_sheet_rows(own))
        for row in own.index:
            facts = own.loc[row]
            slice_name = f"{facts['series']}-slice-{facts['slice']:04d}-file-{facts['file']}.png"
            name = f"overlays/{patient}/{slice_name}"
            picture = overlay(result, row)
            with whole(folder / name) as temporary:
                picture.save(temporary, "PNG")
            pictures[row] = name
            if row in shown:
                cells.append((picture.resize((_CELL_PX, _CELL_PX)), _caption(result, row)))
        with whole(folder / f"contact/{patient}.png") as temporary:
            _sheet(cells, [str(patient), *result.notes]).save(temporary, "PNG")
    return pictures


def _sheet_rows(own: pd.DataFrame) -> list[int]:
    """Return the slices on a patient's contact sheet: those with boxes or to be looked at first."""
    first = (own["boxes"] > 0) | (own["look_at"] != "")
    wanted = [*own.index[first], *own.index[~first]]
    step = max(1, -(-len(wanted) // _MOST_CELLS)) if first.sum() > _MOST_CELLS else 1
    return wanted[::step][:_MOST_CELLS]


def _sheet(cells: list[tuple[Image.Image, list[str]]], head: list[str]) -> Image.Image:
    font = ImageFont.load_default(12)
    lines = max(len(caption) for _, caption in cells)
    columns = min(_COLUMNS, len(cells))
    width, height = _CELL_PX + 8, _CELL_PX + 8 + lines * _LINE_PX
    wide = max(columns, 4) * width + 8
    rows = [text for one in head for text in _wrapped(one, font, wide - 16)]
    top = 8 + len(rows) * _LINE_PX + 8
    sheet = Image.new("RGB", (wide, top + -(-len(cells) // columns) * height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(rows):
        colour = _WARNING if text.startswith(("FORCED", "Not a")) else _INK
        draw.text((8, 8 + number * _LINE_PX), text, fill=colour, font=font)
    for number, (picture, caption) in enumerate(cells):
        x, y = 8 + number % columns * width, top + number // columns * height
        sheet.paste(picture, (x, y))
        for line, text in enumerate(caption):
            short = next(_wrapped(text.partition(", ")[2] if line == 0 else text, font, width - 4))
            colour = _WARNING if line else _INK
            draw.text((x, y + _CELL_PX + line * _LINE_PX), short, fill=colour, font=font)
    return sheet


def _wrapped(text: str, font: Any, width_px: float) -> Iterator[str]:
    """Yield a text in lines that are no wider than `width_px`."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width_px:
            yield line
            longer = word
        line = longer
    yield line


def _write_dicom(result: Result, folder: Path) -> list[str]:
    """Write SR and SEG of each series with boxes; return their paths relative to the run's page."""
    names = []
    for kind, objects in (("sr", result.to_sr()), ("seg", result.to_seg())):
        for number, dataset in enumerate(objects, start=1):
            name = f"{kind}-{number}.dcm"
            with whole(folder / name) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
            names.append(f"dicom/{name}")
    return names


def _page(result: Result, pictures: dict[int, str], objects: list[str]) -> str:
    """Return the page of a run; `pictures` by row of the slice."""
    slices = result.slices
    excluded = slices[slices["status"] == "excluded"]
    predicted = slices[slices["status"] == "predicted"]
    looked_at = predicted.index[predicted["look_at"] != ""]
    reasons = excluded.groupby(["patient", "code", "criterion", "reason", "evidence"], dropna=False)
    return render(
        "predictions.html.jinja",
        result=result,
        model=result.model,
        objects=objects,
        predicted=predicted,
        excluded=excluded,
        looked_at=[(pictures[row], _caption(result, int(row))) for row in looked_at],
        reasons=reasons.size().rename("files").reset_index(),
        missing=pd.isna,
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON values; what is missing is null."""
    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=10))
    return records
