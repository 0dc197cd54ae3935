"""A small cohort that all steps accept: nine patients with a slice of each level."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dsnet.config.load import Config, load
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.reader import Facts, Limits
from dsnet.dicom.scan import ScannedFile
from support.ct_builder import ct_slice, save

LEVELS = ("L1", "L2", "L3", "L4")
T_SCORES = ("-0.5", "-1.7", "-3.1")
PATIENTS = tuple(f"00{number}77" for number in range(1, 10))
"""IDs whose leading zeros a spreadsheet program loses."""


def make_cohort(folder: Path) -> Path:
    """Write the cohort to a folder and return it."""
    images, boxes = [], []
    for number, patient in enumerate(PATIENTS):
        for at in range(len(LEVELS)):
            name = f"{patient}/{at}.dcm"
            hu = np.full((40, 40), -1000)
            hu[2:38, 2:38] = 30 + number
            hu[14:26, 14:26] = 200 + at
            uid = f"1.2.{number + 1}"
            dataset = ct_slice(
                hu,
                PatientID=patient,
                StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1",
                SOPInstanceUID=f"{uid}.1.{at + 1}",
                PixelSpacing=[4.0, 4.0],
                ImagePositionPatient=[0, 0, 200 - 35 * at],
                SliceThickness=4,
            )
            save(dataset, folder / "dicom" / name)
            image = len(images)
            images.append({"id": image, "file_name": name, "width": 40, "height": 40})
            boxes.append({"image_id": image, "category_id": at, "bbox": [14, 14, 12, 12]})
    categories = [{"id": at, "name": level} for at, level in enumerate(LEVELS)]
    coco = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "bodies.json").write_text(json.dumps(coco), encoding="utf-8")
    rows = [
        f"{patient},2020-02-29,{T_SCORES[number % 3]}" for number, patient in enumerate(PATIENTS)
    ]
    write_table(folder / "dxa.csv", "patient_id,exam_date,L1-L4_t_score", rows)
    header = "patient_id,sex,age,fracture_history,spine_surgery,tumour,bone_hyperplasia"
    write_table(folder / "clinical.csv", header, [f"{name},F,70,no,no,no,no" for name in PATIENTS])
    return folder


def write_table(path: Path, header: str, rows: Sequence[str]) -> None:
    """Write a CSV table."""
    path.write_text("".join(f"{line}\n" for line in (header, *rows)), encoding="utf-8")


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    """Replace text in a file, which must hold it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def config_of(cohort: Path, **sections: object) -> Config:
    """Return a config of the cohort, with results and private folder beside it."""
    values = {
        "cohort": cohort,
        "results": cohort.parent / "results",
        "private": cohort.parent / "private",
        "slices": {"size_px": 48, "pixel_mm": 4.0},
        **sections,
    }
    return load(values)


def read_here(
    files: Sequence[ScannedFile],
    thresholds: Thresholds,
    limits: Limits,
    _processes: int,
    read: Callable[..., Facts],
) -> Iterator[list[tuple[ScannedFile, Facts]]]:
    """Read files in this process, in the place of `dsnet.ingest.workers.read_all`."""
    yield [(file, read(file.path, thresholds, limits)) for file in files]
