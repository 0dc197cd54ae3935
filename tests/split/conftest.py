"""Tables of labels and index rows for an invented cohort, under pseudonyms of any key."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pytest
from support.made_index import GOOD, typed

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.schemas import CLASSES, LEVELS
from dsnet.split import (
    assign_images,
    assign_patients,
    describe_images,
    describe_patients,
)

T_SCORES = dict(zip(CLASSES, ("0.3", "-1.8", "-3.1"), strict=True))


@dataclass
class Tables:
    boxes: pd.DataFrame
    files: pd.DataFrame

    def hashes_of(self, patients: "pd.Index[str]") -> frozenset[str]:
        """Return what identifies these patients regardless of the key."""
        mine = self.files["patient_key"].isin(patients)
        return frozenset(self.files.loc[mine, "pixel_hash"])

    def patients(self, seed: int = 0) -> pd.DataFrame:
        return describe_patients(self.boxes, self.files, seed)

    def subsets(self, seed: int = 0) -> "pd.Series[str]":
        return assign_patients(self.patients(seed), Split(seed=seed))

    def by_image(self, seed: int = 0) -> pd.DataFrame:
        images = describe_images(self.boxes, self.files)
        return schemas.SPLIT.validate(assign_images(images, Split(unit="image", seed=seed)))


def name(letter: str, key: str, value: str) -> str:
    return f"{letter}-{hashlib.sha256(f'{key} {letter} {value}'.encode()).hexdigest()[:16]}"


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., Tables]:
    return tables


def tables(counts: tuple[int, ...], *, key: str = "one", incomplete: int = 0) -> Tables:
    """Return `counts` patients of each class with L1-L4, and `incomplete` ones with L3-L4."""
    labels, rows = [], []
    for label, count in zip(CLASSES, counts, strict=True):
        for number in range(count + incomplete):
            for level in LEVELS if number < count else LEVELS[2:]:
                patient, image = f"{label} {number}", f"{label} {number} {level}"
                keys = {
                    "image_key": name("I", key, image),
                    "file_key": name("F", key, image),
                    "patient_key": name("P", key, patient),
                    "study_key": name("E", key, patient),
                }
                edges = dict(zip(schemas.BOX, (10.0, 12.0, 40.0, 38.5), strict=True))
                score = T_SCORES[label]
                labels.append(keys | {"level": level} | edges | {"t_score": score, "label": label})
                digest = hashlib.sha256(image.encode()).hexdigest()[:32]
                rows.append(
                    {
                        **GOOD,
                        **keys,
                        "series_key": name("S", key, patient),
                        "path_rank": len(rows),
                        "patient_known": True,
                        "date_known": True,
                        "pixel_hash": digest,
                    }
                )
    files = schemas.INDEX.validate(typed(schemas.INDEX, rows))
    return Tables(schemas.LABELS.validate(pd.DataFrame(labels)), files)
