"""A small phantom, with access to its tables, files and answers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsnet.config.cohort import Phantom
from dsnet.phantom.step import make_phantom

TINY = Phantom(patients_per_class=5, matrix_px=128)


@dataclass(frozen=True)
class Made:
    cohort: Path
    answers_path: Path

    @property
    def dicom(self) -> Path:
        return self.cohort / "dicom"

    @property
    def answers(self) -> dict[str, Any]:
        return json.loads(self.answers_path.read_text(encoding="utf-8"))

    @property
    def coco(self) -> dict[str, Any]:
        return json.loads((self.cohort / "annotations" / "bodies.json").read_text("utf-8"))

    def rows(self, table: str) -> list[dict[str, str]]:
        header, *rows = (self.cohort / table).read_text(encoding="utf-8").splitlines()
        return [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]

    def patient(self, case: str) -> dict[str, Any]:
        return next(patient for patient in self.answers["patients"] if patient["case"] == case)

    def names(self, case: str) -> list[str]:
        patient_id = self.patient(case)["patient_id"]
        return [name for name in self.answers["files"] if patient_id in name]

    def files(self, case: str, criterion: str) -> list[Path]:
        """Return the files of a case's patient that `criterion` must exclude."""
        expected = self.answers["files"]
        return [self.dicom / name for name in self.names(case) if expected[name] == criterion]


def make(folder: Path) -> Made:
    """Make a small phantom with two processes."""
    made = Made(folder / "phantom", folder / "phantom-answers.json")
    make_phantom(TINY, made.cohort, made.answers_path, 2)
    return made
