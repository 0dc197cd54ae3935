"""Confusion matrices: what each class was taken for."""

from collections.abc import Sequence
from math import isnan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsnet.figures.style import BLACK, panels
from dsnet.tables.entry import Entry, Json
from dsnet.tables.names import title_of

_DARK = 0.55
"""Share from which a cell is so dark that its text is white."""


def drawn(entries: Sequence[Entry], unit: str) -> Figure:
    """Return the matrices of one unit, a panel for each method.

    Parameters
    ----------
    entries : sequence of Entry
    unit : str
        A key of ``confusion`` in their reports: ``box``, ``level`` or ``patient``.
    """
    tables = [entry.report["confusion"][unit] for entry in entries]
    figure, [row] = panels(1, len(entries), height_mm=28 + 9 * len(tables[0]["rows"]))
    for place, (panel, entry, table) in enumerate(zip(row, entries, tables, strict=True)):
        _matrix(panel, table)
        panel.set_title(title_of(entry.name))
        if place:
            panel.set_yticklabels([])
    row[0].set_ylabel("annotated")
    return figure


def _matrix(panel: Axes, table: Json) -> None:
    counts = np.array(table["counts"], dtype=np.float64)
    # Nobody counts the boxes that were rightly not drawn.
    if "false box" in table["rows"]:
        counts[table["rows"].index("false box"), table["columns"].index("missed")] = np.nan
    share = _by_row(counts)
    # Shades of one hue: as readable in grey.
    panel.imshow(np.nan_to_num(share), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if isnan(count):
            continue
        part = share[row, column]
        text = f"{count:g}" if isnan(part) else f"{count:g}\n{100 * part:.0f} %"
        colour = "white" if part > _DARK else BLACK
        panel.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    panel.set_xticks(range(counts.shape[1]), _words(table["columns"]), rotation=45, ha="right")
    panel.set_yticks(range(counts.shape[0]), _words(table["rows"]))
    panel.set_xlabel("called")
    panel.grid(visible=False)
    panel.tick_params(length=0)


def _by_row(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.nansum(counts, axis=1, keepdims=True)
    share = np.full_like(counts, np.nan)
    np.divide(counts, total, out=share, where=total > 0)
    return share


def _words(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]
