"""``python -m dsnet.report.diagram``: the CONSORT-style flow diagram."""

from pathlib import Path

from dsnet.report.canvas import LINE_PT, PAD_PT, Canvas
from dsnet.report.stages import Counts, Stage, many, stages, words
from dsnet.report.tables import UNITS, Tables, read_tables
from dsnet.schemas import CLASSES, SUBSETS
from dsnet.step import run

_WIDTH, _MARGIN, _GAP = 540.0, 4.0, 20.0
_LEFT_WIDTH = 164.0
_RIGHT, _RIGHT_WIDTH = 214.0, 322.0
_NUMBERS = (442.0, 486.0, 530.0)
_SPINE = _MARGIN + _LEFT_WIDTH / 2
_GREY, _WHITE, _BLUE = "#f0f0f0", "#ffffff", "#dceaf7"
_TITLE_HEIGHT = 34.0
_PART_LINES = 1 + len(CLASSES)


def _box_height(lines: int) -> float:
    return LINE_PT * lines + PAD_PT + 2


_MAIN_HEIGHT = _box_height(4)


def draw(
    *,
    flow: Path,
    ledger: Path,
    exclusions: Path,
    labels: Path,
    split: Path,
    svg: Path,
    png: Path,
) -> None:
    """Draw what became of every file, image and patient.

    Parameters
    ----------
    flow, ledger, exclusions, labels, split : Path
        What the exclusions, the labels and the split wrote; it is an error if they do not add up.
    svg, png : Path
        Written: the same picture, 190 mm wide; the same bytes for the same input.
    """
    tables = read_tables(
        flow=flow, ledger=ledger, exclusions=exclusions, labels=labels, split=split
    )
    drawn(tables).save(svg, png)


def drawn(tables: Tables) -> Canvas:
    """Return the diagram: found, what each stage removed, included, and the parts by class."""
    every = stages(tables.flow)
    acting = [stage for stage in every if stage.steps]
    parts = part_counts(tables)
    notes = _notes(tables.flow, [stage.title for stage in every if not stage.steps])
    height = (
        _TITLE_HEIGHT
        + _MAIN_HEIGHT
        + sum(_gap(stage) + _MAIN_HEIGHT for stage in acting)
        + 2 * _GAP
        + _box_height(1 + _PART_LINES)
        + LINE_PT * (len(notes) + 1)
    )
    canvas = Canvas(_WIDTH, height)
    _title(canvas, tables)
    title = "Found in the cohort folder" if acting else "Found and included"
    y = _main_box(canvas, _TITLE_HEIGHT, title, tables.flow["found"], _GREY)
    for stage in acting:
        y = _stage(canvas, y, stage, last=stage is acting[-1])
    y = _parts(canvas, y, parts)
    for number, note in enumerate(notes, start=1):
        canvas.text(_MARGIN, y + LINE_PT * (number + 0.5), note, size=7)
    return canvas


def part_counts(tables: Tables) -> dict[str, dict[str, tuple[int, int]]]:
    """Return patients and images of each part, all and by class.

    The class is the patient's, by which the split was stratified, so that a patient whose levels
    differ counts once.
    """
    every = tables.split
    counts = {}
    for part in SUBSETS:
        own = every[every["subset"] == part]
        rows = {"all": own, **{name: own[own["stratum"] == name] for name in CLASSES}}
        counts[part] = {
            name: (int(group["patient_key"].nunique()), len(group)) for name, group in rows.items()
        }
    return counts


def _title(canvas: Canvas, tables: Tables) -> None:
    made_up = " - SYNTHETIC, not patients" if tables.synthetic else ""
    leaky = " - LEAKY: patients in several parts" if tables.leaky else ""
    canvas.text(_MARGIN, 16, f"Cohort {tables.cohort}{made_up}{leaky}", size=10, bold=True)


def _main_box(canvas: Canvas, y: float, title: str, counts: Counts, fill: str) -> float:
    """Draw a box of the left column; return where it ends."""
    canvas.box(_MARGIN, y, _LEFT_WIDTH, _MAIN_HEIGHT, fill)
    canvas.text(_MARGIN + PAD_PT, y + LINE_PT + 2, title, bold=True)
    for number, unit in enumerate(UNITS, start=2):
        at = y + LINE_PT * number + 2
        canvas.text(_MARGIN + PAD_PT + 34, at, f"{counts[unit]:,}", align="right")
        canvas.text(_MARGIN + PAD_PT + 40, at, unit)
    return y + _MAIN_HEIGHT


def _stage(canvas: Canvas, y: float, stage: Stage, *, last: bool) -> float:
    """Draw what a stage removed, and the box of what is left."""
    gap, height = _gap(stage), _removed_height(stage)
    middle = y + gap / 2
    canvas.arrow((_SPINE, y), (_SPINE, y + gap))
    canvas.arrow((_SPINE, middle), (_RIGHT, middle))
    canvas.box(_RIGHT, middle - height / 2, _RIGHT_WIDTH, height, _WHITE)
    _removed(canvas, middle - height / 2 + LINE_PT + 2, stage)
    title = "Included" if last else f"Left after {stage.title}"
    return _main_box(canvas, y + gap, title, stage.remain, _BLUE if last else _GREY)


def _removed(canvas: Canvas, y: float, stage: Stage) -> None:
    x = _RIGHT + PAD_PT
    canvas.text(x, y, f"Excluded: {stage.title}", bold=True)
    for end, unit in zip(_NUMBERS, UNITS, strict=True):
        canvas.text(end, y, unit, size=7, align="right")
    rows = [(f"{s['code']}  {words(s['slug'])}", s["removed"]) for s in stage.steps]
    for name, counts in [*rows, ("together", stage.removed)]:
        y += LINE_PT
        canvas.text(x, y, name, bold=name == "together")
        for end, unit in zip(_NUMBERS, UNITS, strict=True):
            canvas.text(end, y, f"{counts[unit]:,}", align="right", bold=name == "together")
    if stage.without:
        others = "criterion" if stage.without == 1 else "criteria"
        canvas.text(x, y + LINE_PT, f"{stage.without} more {others}: none", size=7)


def _parts(canvas: Canvas, y: float, parts: dict[str, dict[str, tuple[int, int]]]) -> float:
    """Draw one box for each part, and arrows to them; return where they end."""
    width = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / len(parts)
    height = _box_height(1 + _PART_LINES)
    middle, top = y + _GAP, y + 2 * _GAP
    centres = [_MARGIN + width / 2 + number * (width + _GAP) for number in range(len(parts))]
    canvas.line([(_SPINE, y), (_SPINE, middle)])
    canvas.line([(min(centres), middle), (max(centres), middle)])
    for centre, (part, rows) in zip(centres, parts.items(), strict=True):
        canvas.arrow((centre, middle), (centre, top))
        canvas.box(centre - width / 2, top, width, height, _BLUE)
        _part(canvas, (centre - width / 2 + PAD_PT, centre + width / 2 - PAD_PT), top, part, rows)
    return top + height


def _part(
    canvas: Canvas,
    edges: tuple[float, float],
    top: float,
    part: str,
    rows: dict[str, tuple[int, int]],
) -> None:
    left, ends = edges[0], (edges[1] - 40, edges[1])
    y = top + LINE_PT + 2
    canvas.text(left, y, part.capitalize(), bold=True)
    for end, unit in zip(ends, ("patients", "images"), strict=True):
        canvas.text(end, y, unit, size=7, align="right")
    for name, counts in rows.items():
        y += LINE_PT
        canvas.text(left, y, name)
        for end, count in zip(ends, counts, strict=True):
            canvas.text(end, y, f"{count:,}", align="right")


def _notes(flow: dict[str, Counts], idle: list[str]) -> list[str]:
    flagged, unknown = flow["included_flagged"], flow["included_not_evaluated"]
    notes = [
        "An image or patient is removed by the criterion that takes its last file; criteria count "
        "in the order of their codes.",
        f"Of what is included, flagged for review: {many(flagged['files'], 'file')} of "
        f"{many(flagged['patients'], 'patient')}; something not evaluated (history unknown): "
        f"{many(unknown['files'], 'file')} of {many(unknown['patients'], 'patient')}.",
    ]
    if idle:
        notes.append(f"Nothing was removed by: {', '.join(idle)}.")
    return notes


def _removed_height(stage: Stage) -> float:
    return _box_height(len(stage.steps) + 2 + (stage.without > 0))


def _gap(stage: Stage) -> float:
    """Return the length of the arrow past a stage: its box may reach halfway along those beside."""
    return max(_removed_height(stage) - _MAIN_HEIGHT + 2 * PAD_PT, 2 * _GAP)


if __name__ == "__main__":
    run(draw)
