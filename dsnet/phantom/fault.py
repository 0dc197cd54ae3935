"""The planted cases: at least one for every exclusion criterion, and what must not exclude.

A case says only how its patient differs from an ordinary one. Cases of `PLANTED` exclude a patient
and are so made that their criterion is the first that the patient fails; cases of `KEPT` fall to
patients who stay in, and some bring files that do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dsnet.config.cohort import Criteria
from dsnet.schemas import LEVELS

ORDER = tuple(Criteria.model_fields)
"""Criteria in the order in which they count."""

Dxa = Literal["once", "twice", "none", "no_score", "no_date"]

_DATES = ("SeriesDate", "AcquisitionDate", "ContentDate")


@dataclass(frozen=True)
class Case:
    """How a patient differs from an ordinary one.

    Attributes
    ----------
    name : str
    criterion : str
        The one that must exclude the patient or, for a kept one, flag it; "" if none.
    vendor, syntax : str
        Keys of the scanner's tables; "" for any.
    kernel : str
        "bone", "soft", or the name of an unknown one.
    agent : str
        Contrast agent.
    tilt_deg : float
        Of the gantry.
    implant : {"", "screws", "cement"}
    header : mapping of str to object
        DICOM keywords of the annotated series and their values; None removes the attribute.
    annotated : tuple of str
        Levels whose bodies are annotated.
    history : str
        Column of the clinical table that says yes.
    known : bool
        Whether the clinical table knows the history at all.
    dxa : str
    dxa_days : int or None
        From CT to DXA; None for any number below the limit.
    soft_beside : bool
        Whether a second series shows the same slices with a soft kernel.
    extras : tuple of str
        Further files, by the names of `dsnet.phantom.extra`.
    """

    name: str
    criterion: str = ""
    vendor: str = ""
    syntax: str = ""
    kernel: str = "bone"
    agent: str = ""
    tilt_deg: float = 0.0
    implant: str = ""
    header: Mapping[str, object] = field(default_factory=dict)
    annotated: tuple[str, ...] = LEVELS
    history: str = ""
    known: bool = True
    dxa: Dxa = "once"
    dxa_days: int | None = None
    soft_beside: bool = False
    extras: tuple[str, ...] = ()


ORDINARY = Case("ordinary")

PLANTED = (
    Case("tilted gantry", "not_original_axial", tilt_deg=14.0),
    Case("no position", "bad_geometry", header={"ImagePositionPatient": None}),
    Case("pixels of no size", "bad_geometry", header={"PixelSpacing": [0, 0]}),
    Case("no HU", "no_hu_scale", header={"RescaleSlope": None, "RescaleIntercept": None}),
    Case("contrast", "contrast_enhanced", agent="OMNIPAQUE 350"),
    Case("contrast, other name", "contrast_enhanced", agent="Iopamidol 300 mgI/ml 90 ml"),
    Case("soft kernel of GE", "not_bone_kernel", vendor="ge", kernel="soft"),
    Case("soft kernel of Siemens", "not_bone_kernel", vendor="siemens", kernel="soft"),
    Case("soft kernel of Philips", "not_bone_kernel", vendor="philips", kernel="soft"),
    Case("soft kernel of Canon", "not_bone_kernel", vendor="canon", kernel="soft"),
    Case("screws", "metal_artefact", implant="screws"),
    Case("nothing annotated", "no_annotation", annotated=()),
    Case("no DXA", "no_dxa", dxa="none"),
    Case("DXA without T-scores", "no_t_score", dxa="no_score"),
    Case("DXA 181 days off", "dxa_too_far", dxa_days=181),
    Case("DXA more than a year before", "dxa_too_far", dxa_days=-412),
    Case("DXA without date", "dxa_date_unknown", dxa="no_date"),
    Case(
        "CT without date",
        "dxa_date_unknown",
        header={"StudyDate": "", **dict.fromkeys(_DATES)},
    ),
    Case("fracture", "fracture_history", history="fracture_history"),
    Case("surgery", "spine_surgery", history="spine_surgery"),
    Case("tumour", "tumour", history="tumour"),
    Case("hyperplasia", "bone_hyperplasia", history="bone_hyperplasia"),
    Case("only neighbours annotated", "incomplete_levels", annotated=("T12", "L5")),
)

KEPT = (
    Case("stray files", syntax="explicit", extras=("text_file", "empty_file", "cut_header")),
    Case("cut slice", syntax="explicit", extras=("cut_pixels",)),
    Case("byte copy", extras=("byte_copy",)),
    Case("copy that no annotation names", extras=("unnamed_copy",)),
    Case("MR and secondary capture", extras=("mr", "secondary_capture")),
    Case("localizer and average", extras=("localizer", "average")),
    Case("soft series beside", soft_beside=True),
    Case("unknown kernel", "not_bone_kernel", vendor="philips", kernel="QX-7"),
    Case("cement", "cement", implant="cement"),
    Case("L3 and L4 only", annotated=("L3", "L4")),
    Case("two exams", dxa="twice", dxa_days=-20),
    Case("unknown history", known=False),
    Case("DXA 180 days off", dxa_days=180),
    Case("localizer", extras=("localizer",)),
)


def first(*criteria: str) -> str:
    """Return the criterion that counts, blank ones left out; "" if none is left."""
    return min((slug for slug in criteria if slug), key=ORDER.index, default="")
