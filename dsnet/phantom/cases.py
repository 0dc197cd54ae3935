"""The plan of the cohort: a case for every exclusion criterion, and for what must not exclude.

A case lists only how its patient differs from an ordinary one. The criterion of a case in
`EXCLUDED` is the first that its patient fails; patients with a case in `KEPT` stay in, and some
have extra files that must be excluded.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage
from scipy import ndimage

from dsnet.config.cohort import Criteria, Phantom
from dsnet.phantom.examination import VENDORS, Examination, Protocol, save, set_pixels
from dsnet.phantom.person import BOUNDARY_TENTHS
from dsnet.phantom.raster import Plane
from dsnet.schemas import CLASSES, LEVELS

ORDER = tuple(Criteria.model_fields)
"""Criteria in the order in which they count."""

Dxa = Literal["once", "twice", "none", "no_score", "no_date"]
_DATES = ("SeriesDate", "AcquisitionDate", "ContentDate")
_HU_SCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")

# Those that are slow to compress, less often.
_SYNTAX_CYCLE = (
    *("explicit", "implicit", "rle", "jpeg2000", "deflated"),
    *("explicit", "implicit", "rle", "explicit", "implicit", "explicit"),
)
_THICKNESS_MM = (2.0, 2.5, 3.0)
_QUARTERS = 4


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
        Column of the clinical table that is "yes".
    history_known : bool
        Whether the clinical table has the history at all.
    dxa : str
    dxa_days : int or None
        From CT to DXA; None for any number below the limit.
    soft_beside : bool
        Whether a second series shows the same slices with a soft kernel.
    extras : tuple of str
        Further files, by the names in `EXTRAS`.
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
    history_known: bool = True
    dxa: Dxa = "once"
    dxa_days: int | None = None
    soft_beside: bool = False
    extras: tuple[str, ...] = ()


ORDINARY = Case("ordinary")

EXCLUDED = (
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
    Case("unknown history", history_known=False),
    Case("DXA 180 days off", dxa_days=180),
    Case("localizer", extras=("localizer",)),
)


def first(*criteria: str) -> str:
    """Return the criterion that comes first in `ORDER`, blank ones left out; "" if none is left."""
    return min((name for name in criteria if name), key=ORDER.index, default="")


@dataclass(frozen=True)
class Plan:
    """What is decided about a patient before anything is sampled.

    Attributes
    ----------
    number : int
        From 1; with the cohort's seed it decides every random number.
    label : str
        WHO class.
    boundary : bool
        Whether the T-score lies on the threshold itself.
    included : bool
        Whether the patient must stay in.
    case : Case
    protocol : Protocol
    """

    number: int
    label: str
    boundary: bool
    included: bool
    case: Case
    protocol: Protocol


def plan_cohort(params: Phantom) -> list[Plan]:
    """Return the patients: first those who must stay, then one for each case of `EXCLUDED`."""
    # In random order: nothing that depends on a patient's number may tell the class.
    rng = np.random.default_rng([params.seed, 0])
    counts = [round(params.patients_per_class * share) for share in params.class_shares]
    every = [
        name
        for rank in range(max(counts))
        for name, count in zip(CLASSES, counts, strict=True)
        if rank < count
    ]
    labels = [every[value] for value in rng.permutation(len(every))]
    cases = [*KEPT, *[ORDINARY] * (len(labels) - len(KEPT))]
    plans: list[Plan] = []
    for label in CLASSES:
        own = [index for index, other in enumerate(labels) if other == label]
        protocols = sample_protocols(rng, [cases[index] for index in own], params)
        for rank, (index, protocol) in enumerate(zip(own, protocols, strict=True)):
            boundary = label in BOUNDARY_TENTHS and rank <= params.patients_per_class // 24
            plans.append(Plan(index + 1, label, boundary, True, cases[index], protocol))
    plans.sort(key=lambda plan: plan.number)
    for case, protocol in zip(EXCLUDED, sample_protocols(rng, EXCLUDED, params), strict=True):
        number = len(plans) + 1
        plans.append(Plan(number, CLASSES[number % len(CLASSES)], False, False, case, protocol))
    return plans


def sample_protocols(
    rng: np.random.Generator, cases: Sequence[Case], params: Phantom
) -> list[Protocol]:
    """Return the protocols of all patients of one class, each setting in random order.

    Vendors, their kernels, transfer syntaxes, slice thicknesses and quarters of the range of fields
    of view occur as often in any other class of as many patients. So no seed lets a header predict
    the class. Whole protocols are not the same in every class: a protocol of one patient in each
    would tell the class of the third patient from those of two.

    Parameters
    ----------
    rng : Generator
    cases : sequence of Case
        One a patient; vendor and syntax are those that it needs, if any.
    params : Phantom
        Vendors are taken in turn, and their bone kernels.
    """
    count = len(cases)
    makers = _allot(rng, params.vendors, [case.vendor for case in cases])
    coded = _allot(rng, _SYNTAX_CYCLE, [case.syntax for case in cases])
    thickness = rng.permutation(count) % len(_THICKNESS_MM)
    field = (rng.permutation(count) % _QUARTERS + rng.random(count)) / _QUARTERS
    kernels: Mapping[Any, tuple[str, ...]] = params.kernels
    used: Counter[str] = Counter()
    protocols = []
    for i, maker in enumerate(makers):
        names = kernels.get(maker, VENDORS[maker].bone_kernels)
        kernel = names[used[maker] % len(names)]
        used[maker] += 1
        thickness_mm = _THICKNESS_MM[thickness[i]]
        protocols.append(Protocol(maker, coded[i], kernel, thickness_mm, float(field[i])))
    return protocols


def _allot(rng: np.random.Generator, cycle: Sequence[str], needs: Sequence[str]) -> list[str]:
    """Return values in random order, as many of each, but each patient's is the one it needs."""
    rest = [cycle[i % len(cycle)] for i in range(len(needs))]
    for need in filter(None, needs):
        rest.remove(need if need in rest else rest[-1])
    rest = rng.permutation(rest).tolist()
    return [need or rest.pop() for need in needs]


@dataclass(frozen=True)
class WrittenSlice:
    """An annotated slice of a patient, beside which the extras are written.

    Attributes
    ----------
    examination : Examination
    path : Path
        The slice's file.
    index : int
        The slice, from the head.
    hu : float32 array, shape (matrix, matrix)
    """

    examination: Examination
    path: Path
    index: int
    hu: Plane

    def header(self, series: int, description: str) -> Dataset:
        """Return the header of another series of the same examination."""
        return self.examination.header(series, self.examination.scanner.kernel, description)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of that name and content beside the slice."""
        path = self.path.with_name(name)
        path.write_bytes(content)
        return path

    def save(self, dataset: Dataset, name: str) -> Path:
        """Write `dataset` under that name, uncompressed."""
        dataset.SOPInstanceUID = self.examination.uid(name)
        path = self.path.with_name(name)
        save(dataset, path, "explicit")
        return path


def text_file(original: WrittenSlice) -> Path:
    """Write a letter."""
    text = f"Lumbar spine CT of {original.examination.identity.name}.\r\n"
    return original.write("report.txt", text.encode())


def empty_file(original: WrittenSlice) -> Path:
    """Write a file of no bytes."""
    return original.write("IM9001", b"")


def cut_header(original: WrittenSlice) -> Path:
    """Write a slice that ends before the attributes of the image size."""
    return original.write("IM9002", original.path.read_bytes()[:1000])


def cut_pixels(original: WrittenSlice) -> Path:
    """Write a slice that ends within its pixels but has the UID of the intact one."""
    return original.write("IM9003", original.path.read_bytes()[: -original.hu.size])


def byte_copy(original: WrittenSlice) -> Path:
    """Write the same bytes under a name that sorts last; annotations name the UID of both."""
    name = f"{original.path.stem}_copy{original.path.suffix}"
    return original.write(name, original.path.read_bytes())


def unnamed_copy(original: WrittenSlice) -> Path:
    """Write the same bytes under a name that sorts first, while annotations name the other file."""
    return original.write("0_copy", original.path.read_bytes())


def mr(original: WrittenSlice) -> Path:
    """Write an MR image of the same slice."""
    header = original.header(801, "T2 TSE TRA")
    image = ndimage.gaussian_filter(np.where(original.hu > -300, 300 - original.hu, -1024), 1)
    dataset = original.examination.axial(header, original.index, 1, image)
    for keyword in ("KVP", "ConvolutionKernel", "GantryDetectorTilt", *_HU_SCALE):
        delattr(dataset, keyword)
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    dataset.ScanningSequence, dataset.SequenceVariant = "SE", "SK"
    dataset.ScanOptions, dataset.MRAcquisitionType = "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = 3200, 98, 17
    return original.save(dataset, "IM9004")


def secondary_capture(original: WrittenSlice) -> Path:
    """Write a screenshot with the modality CT."""
    dataset = original.header(802, "DOSE REPORT")
    set_pixels(dataset, original.hu.clip(0, 255), original.examination.scanner)
    for keyword in ("ConvolutionKernel", *_HU_SCALE):
        delattr(dataset, keyword)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.InstanceNumber = 1
    return original.save(dataset, "IM9005")


def localizer(original: WrittenSlice) -> Path:
    """Write a frontal scout view."""
    waves = 1 + 0.06 * np.sin(np.arange(len(original.hu), dtype=np.float32) / 9)
    shadow = waves[:, None] * original.hu.clip(-1000).mean(axis=0)
    dataset = original.examination.axial(original.header(1, "SCOUT"), original.index, 1, shadow)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return original.save(dataset, "IM9006")


def average(original: WrittenSlice) -> Path:
    """Write an axial image that was computed from others."""
    smooth = ndimage.gaussian_filter(original.hu, 1.5)
    dataset = original.examination.axial(original.header(803, "AVERAGE"), original.index, 1, smooth)
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"]
    return original.save(dataset, "IM9007")


EXTRAS: dict[str, tuple[str, Callable[[WrittenSlice], Path]]] = {
    "text_file": ("unreadable", text_file),
    "empty_file": ("unreadable", empty_file),
    "cut_header": ("unreadable", cut_header),
    "cut_pixels": ("undecodable_pixels", cut_pixels),
    "byte_copy": ("duplicate", byte_copy),
    "unnamed_copy": ("duplicate", unnamed_copy),
    "mr": ("not_ct", mr),
    "secondary_capture": ("not_ct", secondary_capture),
    "localizer": ("not_original_axial", localizer),
    "average": ("not_original_axial", average),
}
"""The criterion that must exclude each extra file, and the function that writes it."""
