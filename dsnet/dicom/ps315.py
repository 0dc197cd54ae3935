"""Table E.1-1 of DICOM PS3.15 (Application Level Confidentiality Profile Attributes).

The table is that of dicom-anonymizer (KitwareMedical), which makes it from the standard's text; its
newest edition is taken, 2026c. What ingestion records as identifying goes by it, too.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dicomanonymizer.simpledicomanonymizer import initialize_actions
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.tag import BaseTag

EDITION = "2026c"

Rule = Callable[[Any, Any], None]
"""What the library calls with a dataset and a tag; it changes that element."""


def rules() -> dict[tuple[int, ...], Rule]:
    """Return the library's action for each entry of the table.

    An entry is (group, element), or (group, element, group mask, element mask) for the repeating
    groups of curves and overlays.
    """
    actions: dict[tuple[int, ...], Rule] = initialize_actions(f"dicomfields_{EDITION}")
    return actions


@lru_cache(maxsize=1)
def attributes() -> dict[int, tuple[str, str]]:
    """Return VR and keyword of each attribute of the table, repeating groups excepted, by tag."""
    table = {}
    for entry in rules():
        if len(entry) == 2:
            tag = entry[0] << 16 | entry[1]
            try:
                table[tag] = (dictionary_VR(tag), dictionary_keyword(tag))
            except KeyError:  # newer than pydicom's dictionary, so no file can name its VR either
                table[tag] = ("UN", f"Tag{tag:08X}")
    return table


def is_graphic(tag: BaseTag) -> bool:
    """Return whether a tag is of the repeating groups 50xx (curves) or 60xx (overlays)."""
    return tag.group & 0xFF00 in (0x5000, 0x6000) and not tag.is_private
