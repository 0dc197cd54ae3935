"""One patient, from the plan to the files and the table rows, with the expected outcome of each."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dsnet.config.cohort import Phantom
from dsnet.phantom.axial_slice import render
from dsnet.phantom.cases import EXTRAS, Case, Plan, WrittenSlice, first
from dsnet.phantom.examination import Examination, sample_scanner, save
from dsnet.phantom.person import (
    Anatomy,
    Bone,
    SlicePosition,
    sample_anatomy,
    sample_bone,
    sample_identity,
)
from dsnet.phantom.raster import Canvas, Plane, reconstruct
from dsnet.schemas import LEVELS

HISTORY = ("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia")
DXA_COLUMNS = ("patient_id", "exam_date", *(f"{level}_t_score" for level in (*LEVELS, "L1-L4")))
CLINICAL_COLUMNS = ("patient_id", "sex", "age", "height_cm", "weight_kg", *HISTORY)
_IMPLANTED = {"screws": ("L3", "L4"), "cement": ("L2",)}
_BONE_SERIES, _SOFT_SERIES = 2, 3
_CATEGORIES = (*LEVELS, "T12", "L5")


@dataclass(frozen=True)
class Patient:
    """What was sampled for a patient."""

    plan: Plan
    examination: Examination
    anatomy: Anatomy
    bone: Bone

    @property
    def folder(self) -> str:
        """The folder of the patient's files, below ``dicom/``."""
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
    instance : int or None
        InstanceNumber (0020,0013).
    level : str
    hu : float32 array, shape (matrix, matrix)
    box : tuple of int
        x, y, width and height of the vertebral body in pixels, as COCO has them.
    """

    index: int
    instance: int | None
    level: str
    hu: Plane
    box: tuple[int, int, int, int]


@dataclass
class Record:
    """What was written for a patient, and what must become of it.

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
    patient = sample_patient(plan, params, rng)
    record = Record(patient)
    (dicom / patient.folder).mkdir(parents=True)
    positions = slice_positions(plan.case, params.slices_per_level)
    names = _names(patient, len(positions), rng)
    instances = _instances(plan.number, len(positions), rng)
    examination, scanner = patient.examination, patient.examination.scanner
    bone = examination.header(_BONE_SERIES, scanner.kernel, "L-SPINE BONE")
    soft = examination.header(_SOFT_SERIES, scanner.vendor.soft_kernel, "L-SPINE SOFT")
    for index, position in enumerate(positions):
        image = _slice(patient, position, index, instances[index], rng)
        name = f"{patient.folder}/{names[index]}"
        hu = _write_slice(patient, bone, image, dicom / name, rng)
        record.files[name] = _expected_criterion(plan, image.level)
        if image.level in patient.annotated:
            record.images.append(_coco_image(patient, image, name))
        if plan.case.soft_beside:
            beside = f"{patient.folder}/soft_{names[index]}"
            _write_slice(patient, soft, image, dicom / beside, rng)
            record.files[beside] = "not_bone_kernel"
        if index == len(positions) // 2:
            original = WrittenSlice(examination, dicom / name, index, hu)
    for extra in plan.case.extras:
        criterion, write = EXTRAS[extra]
        record.files[write(original).relative_to(dicom).as_posix()] = criterion
    return record


def sample_patient(plan: Plan, params: Phantom, rng: np.random.Generator) -> Patient:
    """Return a patient's identity, scanner, anatomy and bone, sampled in that order."""
    case, number = plan.case, plan.number
    identity = sample_identity(rng, number)
    scanner = sample_scanner(rng, plan.protocol, case.kernel, params, number)
    anatomy = sample_anatomy(rng, contrast=bool(case.agent))
    bone = sample_bone(rng, plan.label, boundary=plan.boundary)
    examination = Examination(params.seed, number, identity, scanner, case.agent, case.tilt_deg)
    return Patient(plan, examination, anatomy, bone)


def slice_positions(case: Case, slices: int) -> list[SlicePosition]:
    """Return where a patient's slices lie, from the head: `slices` in each of L1 to L4.

    T12 and L5 have one slice each.
    """
    heights = np.linspace(0.65, -0.65, slices).tolist()
    middle = [(level, height) for level in LEVELS for height in heights]
    implanted = _IMPLANTED.get(case.implant, ())
    return [
        SlicePosition(level, height, case.implant if level in implanted else "")
        for level, height in [("T12", heights[-1]), *middle, ("L5", heights[0])]
    ]


def _slice(
    patient: Patient,
    position: SlicePosition,
    index: int,
    instance: int | None,
    rng: np.random.Generator,
) -> Slice:
    scanner = patient.examination.scanner
    x, y = scanner.centre_mm(patient.anatomy.centre_mm)
    anatomy, shift = patient.anatomy.at(position)
    canvas = Canvas(scanner.matrix_px, scanner.spacing_mm, (x - shift[0], y - shift[1]))
    box = render(canvas, anatomy, position, patient.bone.cues(position.level), rng)
    return Slice(index, instance, position.level, canvas.hu, box)


def _write_slice(
    patient: Patient, header: Dataset, image: Slice, path: Path, rng: np.random.Generator
) -> Plane:
    """Write a slice of the series `header`, and return its HU."""
    examination, scanner = patient.examination, patient.examination.scanner
    bone = scanner.bone and header.SeriesNumber == _BONE_SERIES
    hu = reconstruct(image.hu, scanner.spacing_mm, bone=bone, noise_hu=scanner.noise_hu, rng=rng)
    hu += np.float32(scanner.shift_hu)
    dataset = examination.axial(header, image.index, image.instance, hu)
    for keyword, value in patient.plan.case.header.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    save(dataset, path, scanner.syntax)
    return hu


def _expected_criterion(plan: Plan, level: str) -> str:
    """Return the criterion that must exclude a slice, "" for one that must stay."""
    own = "" if plan.included else plan.case.criterion
    lumbar = level in LEVELS and level in plan.case.annotated
    return first(own, "" if lumbar else "not_lumbar")


def _names(patient: Patient, count: int, rng: np.random.Generator) -> list[str]:
    """Return file names whose order is independent of the slices' order."""
    surname = patient.examination.identity.surname
    order = rng.permutation(count)
    if patient.plan.number % 2:
        return [f"IM{number:04d}" for number in order]
    return [f"{surname}_{number:04d}.dcm" for number in order]


def _instances(number: int, count: int, rng: np.random.Generator) -> list[int | None]:
    """Return instance numbers: in some patients shuffled, reversed or blank."""
    rising = list(range(1, count + 1))
    shuffled = [int(index) + 1 for index in rng.permutation(count)]
    odd: dict[int, list[int | None]] = {1: [*shuffled], 2: [*rising[::-1]], 3: [None] * count}
    return odd.get(number % 6, [*rising])


def _coco_image(patient: Patient, image: Slice, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "file_name": name,
        "height": image.hu.shape[0],
        "width": image.hu.shape[1],
        "level": image.level,
        "bbox": list(image.box),
    }
    # The UID would name both the slice and its copy.
    if "unnamed_copy" not in patient.plan.case.extras:
        entry["sop_instance_uid"] = patient.examination.image_uid(_BONE_SERIES, image.index)
    return entry


def dxa_rows(patient: Patient) -> list[tuple[str, ...]]:
    """Return a patient's DXA exams, the one that counts last."""
    case, identity, bone = patient.plan.case, patient.examination.identity, patient.bone
    random_days = int(_rng(patient, 1).integers(-120, 121))
    days = random_days if case.dxa_days is None else case.dxa_days
    exam_date = (identity.ct_date + timedelta(days=days)).isoformat()
    tenths = [*(bone.level_tenths(level) for level in LEVELS), bone.tenths]
    scores = tuple(f"{value / 10:.1f}" for value in tenths)
    if case.dxa == "none":
        return []
    if case.dxa == "no_score":
        scores = ("",) * len(scores)
    row = (identity.patient_id, "" if case.dxa == "no_date" else exam_date, *scores)
    if case.dxa != "twice":
        return [row]
    # The other exam is more days away, and its T-scores are of another class.
    date = (identity.ct_date + timedelta(days=150)).isoformat()
    shift = -18 if bone.tenths > -20 else 18
    return [(identity.patient_id, date, *(f"{(v + shift) / 10:.1f}" for v in tenths)), row]


def clinical_row(patient: Patient) -> tuple[str, ...]:
    """Return a patient's sex, age, size and history."""
    case, identity = patient.plan.case, patient.examination.identity
    rng = _rng(patient, 2)
    height = rng.normal(162 if identity.sex == "F" else 175, 6)
    weight = rng.normal(26, 3.5) * (height / 100) ** 2
    other = "no" if case.history_known else ""
    history = ("yes" if name == case.history else other for name in HISTORY)
    return (
        identity.patient_id,
        identity.sex,
        str(identity.age),
        f"{height:.0f}",
        f"{weight:.0f}",
        *history,
    )


def _rng(patient: Patient, table: int) -> np.random.Generator:
    examination = patient.examination
    return np.random.default_rng([examination.seed, examination.number, table])


def csv_text(columns: tuple[str, ...], rows: list[tuple[str, ...]], line_end: str) -> str:
    """Return a table as CSV; no value of the phantom holds a comma."""
    return "".join(",".join(row) + line_end for row in [columns, *rows])


def coco(records: list[Record]) -> dict[str, Any]:
    """Return the annotations of all patients as COCO JSON."""
    images, annotations = [], []
    for number, entry in enumerate((i for record in records for i in record.images), start=1):
        image = dict(entry)
        level, box = str(image.pop("level")), image.pop("bbox")
        images.append({"id": number, **image})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": _CATEGORIES.index(level) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
    categories = [{"id": k, "name": name} for k, name in enumerate(_CATEGORIES, start=1)]
    return {
        "info": {"description": "Vertebral bodies of the synthetic phantom"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
