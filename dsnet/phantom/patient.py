"""One patient, from the plan to the files, and what must become of each file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dsnet.config.cohort import Phantom
from dsnet.phantom.anatomy import Build, Cut, Place, draw_build, render
from dsnet.phantom.bone import Bone, draw_bone
from dsnet.phantom.canvas import Plane
from dsnet.phantom.examination import Examination, save
from dsnet.phantom.extra import EXTRAS, Scan
from dsnet.phantom.fault import Case, first
from dsnet.phantom.identity import draw_identity
from dsnet.phantom.optics import expose
from dsnet.phantom.scanner import VENDORS, draw_scanner
from dsnet.schemas import LEVELS

_IMPLANTED = {"screws": ("L3", "L4"), "cement": ("L2",)}
_BONE_SERIES, _SOFT_SERIES = 2, 3
# Transfer syntaxes in turn; those that are slow to pack, seldomer.
_ROTA = ("explicit", "implicit", "rle", "jpeg2000", "explicit", "implicit", "deflated")


@dataclass(frozen=True)
class Plan:
    """What is settled about a patient before anything is drawn.

    Attributes
    ----------
    number : int
        From 1; with the cohort's seed it decides every draw.
    label : str
        WHO class.
    boundary : bool
        Whether the T-score lies on the threshold itself.
    included : bool
        Whether the patient must stay in.
    case : Case
    """

    number: int
    label: str
    boundary: bool
    included: bool
    case: Case


@dataclass(frozen=True)
class Patient:
    """What was drawn for a patient."""

    plan: Plan
    examination: Examination
    build: Build
    bone: Bone

    @property
    def folder(self) -> str:
        """Where the patient's files lie, below ``dicom/``."""
        who = self.examination.identity
        return f"{who.folder}/CT_{who.accession}"

    @property
    def annotated(self) -> tuple[str, ...]:
        """The levels whose bodies are annotated; in some patients the neighbours as well."""
        levels = self.plan.case.annotated
        return ("T12", *levels, "L5") if levels == LEVELS and self.plan.number % 3 == 0 else levels


@dataclass(frozen=True)
class Slice:
    """One slice before the scanner's blur and noise.

    Attributes
    ----------
    index : int
        From the head.
    level : str
    hu : float32 array, shape (matrix, matrix)
    box : tuple of int
        x, y, width and height of the vertebral body in pixels, as COCO has them.
    """

    index: int
    level: str
    hu: Plane
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Series:
    """What the slices of a series share, and whether they show what a bone kernel shows."""

    header: Dataset
    bone: bool


@dataclass
class Record:
    """What was written for a patient.

    Attributes
    ----------
    patient : Patient
    files : dict of str to str
        Path below ``dicom/`` to the criterion that must exclude the file, "" if none.
    images : list of dict
        COCO images, each with its names and size, and the `level` and `bbox` of its body.
    """

    patient: Patient
    files: dict[str, str] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)


def write_patient(plan: Plan, params: Phantom, dicom: Path) -> Record:
    """Write all files of one patient below `dicom`, and return the record of them."""
    rng = np.random.default_rng([params.seed, plan.number])
    patient = draw_patient(plan, params, rng)
    record = Record(patient)
    (dicom / patient.folder).mkdir(parents=True)
    stack = cuts(plan.case, params.slices_per_level)
    names, instances = _names(patient, len(stack), rng), _instances(plan.number, len(stack), rng)
    bone, soft = (_series(patient, soft=soft) for soft in (False, True))
    for part in _slices(patient, stack, rng):
        name = f"{patient.folder}/{names[part.index]}"
        number = instances[part.index]
        hu = _write_slice(patient, bone, part, dicom / name, instance=number, rng=rng)
        record.files[name] = _verdict(plan, part.level)
        if part.level in patient.annotated:
            record.images.append(_image(patient, part, name))
        if plan.case.soft_beside:
            beside = f"{patient.folder}/soft_{names[part.index]}"
            _write_slice(patient, soft, part, dicom / beside, instance=number, rng=rng)
            record.files[beside] = "not_bone_kernel"
        if part.index == len(stack) // 2:
            scan = Scan(patient.examination, dicom / name, part.index, hu)
    for extra in plan.case.extras:
        criterion, write = EXTRAS[extra]
        record.files[write(scan).relative_to(dicom).as_posix()] = criterion
    return record


def draw_patient(plan: Plan, params: Phantom, rng: np.random.Generator) -> Patient:
    """Return a patient's identity, scanner, body and bone, drawn in that order."""
    case, number = plan.case, plan.number
    identity = draw_identity(rng, number)
    scanner = draw_scanner(
        rng,
        case.vendor or list(VENDORS)[number % len(VENDORS)],
        case.syntax or _ROTA[number % len(_ROTA)],
        case.kernel,
        matrix_px=params.matrix_px,
        slices=params.slices_per_level,
    )
    build = draw_build(rng, contrast=bool(case.agent))
    bone = draw_bone(rng, plan.label, boundary=plan.boundary)
    return Patient(plan, Examination(params.seed, number, identity, scanner, case), build, bone)


def cuts(case: Case, slices: int) -> list[Cut]:
    """Return a patient's slices from head to foot: `slices` of each of L1 to L4, and neighbours."""
    heights = np.linspace(0.65, -0.65, slices).tolist()
    middle = [(level, height) for level in LEVELS for height in heights]
    implanted = _IMPLANTED.get(case.implant, ())
    return [
        Cut(level, height, case.implant if level in implanted else "")
        for level, height in [("T12", heights[-1]), *middle, ("L5", heights[0])]
    ]


def _slices(patient: Patient, stack: list[Cut], rng: np.random.Generator) -> Iterator[Slice]:
    scanner = patient.examination.scanner
    aim = scanner.aim(patient.build.centre_mm)
    for index, cut in enumerate(stack):
        body, shift = patient.build.at(cut)
        centre = (aim[0] - shift[0], aim[1] - shift[1])
        place = Place(scanner.matrix_px, scanner.spacing_mm, centre)
        yield Slice(index, cut.level, *render(body, cut, place, patient.bone.cues(cut.level), rng))


def _series(patient: Patient, *, soft: bool) -> Series:
    examination, scanner = patient.examination, patient.examination.scanner
    number = _SOFT_SERIES if soft else _BONE_SERIES
    kernel = scanner.vendor.soft_kernel if soft else scanner.kernel
    header = examination.header(number, kernel, "L-SPINE SOFT" if soft else "L-SPINE BONE")
    return Series(header, bone=scanner.bone and not soft)


def _write_slice(
    patient: Patient,
    series: Series,
    part: Slice,
    path: Path,
    *,
    instance: int | None,
    rng: np.random.Generator,
) -> Plane:
    """Write a slice as `series` shows it, and return its image."""
    examination, scanner = patient.examination, patient.examination.scanner
    hu = expose(part.hu, scanner.spacing_mm, bone=series.bone, noise_hu=scanner.noise_hu, rng=rng)
    dataset = examination.axial(series.header, part.index, instance, hu)
    for keyword, value in patient.plan.case.header.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    save(dataset, path, scanner.syntax)
    return hu


def _verdict(plan: Plan, level: str) -> str:
    """Return the criterion that a slice must fall to, "" for one that must stay."""
    fault = "" if plan.included else plan.case.criterion
    lumbar = level in LEVELS and level in plan.case.annotated
    return first(fault, "" if lumbar else "not_lumbar")


def _names(patient: Patient, count: int, rng: np.random.Generator) -> list[str]:
    """Return file names whose order says nothing of the slices' order."""
    surname = patient.examination.identity.surname
    order = rng.permutation(count)
    if patient.plan.number % 2:
        return [f"IM{number:04d}" for number in order]
    return [f"{surname}_{number:04d}.dcm" for number in order]


def _instances(number: int, count: int, rng: np.random.Generator) -> list[int | None]:
    """Return instance numbers: in some patients shuffled, reversed or blank."""
    rising = list(range(1, count + 1))
    shuffled = [int(place) + 1 for place in rng.permutation(count)]
    odd: dict[int, list[int | None]] = {1: [*shuffled], 2: [*rising[::-1]], 3: [None] * count}
    return odd.get(number % 6, [*rising])


def _image(patient: Patient, part: Slice, name: str) -> dict[str, Any]:
    image: dict[str, Any] = {
        "file_name": name,
        "height": part.hu.shape[0],
        "width": part.hu.shape[1],
        "level": part.level,
        "bbox": list(part.box),
    }
    # Where a copy lies beside, the UID would name both.
    if "unnamed_copy" not in patient.plan.case.extras:
        image["sop_instance_uid"] = patient.examination.image_uid(_BONE_SERIES, part.index)
    return image
