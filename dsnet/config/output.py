"""Sections of what people read and share."""

from typing import Annotated, Literal

from pydantic import Field

from dsnet.config import Section

FIGURES = (
    "figure4",
    "forest",
    "precision_recall",
    "roc",
    "confusion_box",
    "confusion_level",
    "confusion_patient",
    "calibration",
    "froc",
    "decision",
    "learning",
    "patients",
)
"""The figures that the workflow makes, in the order in which the report shows them."""


Ocr = Literal["none", "flagged", "all"]


class Report(Section):
    """What the report shows."""

    thumbnails: Annotated[int, Field(ge=0, le=2000)] = 240
    """Small pictures in results/report.html, chosen by a rule that the page states; 0 for none.
    They are images of patients, without headers: choose 0 for a report that leaves the
    hospital, or make it with --shareable.
    """
    contact_images: Annotated[int, Field(ge=1, le=2000)] = 96
    """Annotated slices on the contact sheet, those with a flagged box first."""
    min_cell: Annotated[int, Field(ge=0)] = 5
    """Of cohorts that are not synthetic: a sex or an age group with fewer patients than this in any
    subset or class is hidden, and any group of fewer test patients in subgroups.csv, since small
    numbers may identify somebody; 0 shows all.
    """


class Deidentify(Section):
    """Included slices as DICOM without identity (PS3.15)."""

    processes: Annotated[int, Field(ge=0)] = 0
    """Writing processes; 0 means one for each core. Fewer where others need the machine."""
    ocr: Ocr = "none"
    """Which slices are searched for letters by OCR (the extra ocr): none, those that are
    flagged, or all. Slices with letters are refused. All takes about a second a slice.
    """


class PhiCheck(Section):
    """The search of all outputs for identifying values."""

    processes: Annotated[int, Field(ge=0)] = 0
    """Searching processes; 0 means one for each core. Fewer where memory is scarce: each holds a
    file.
    """
