"""A results folder of nobody, made on the spot; one excluded image has a real file behind it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dsnet.pseudonym import open_vault
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Exclude
from dsnet.config.load import Config
from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.exclude.flow import Counter
from dsnet.exclude.registry import REVIEW, REVIEW_CODE, criteria_table
from dsnet.report.tables import Tables

SIZE_PX = 48
HOSPITAL_IDS = ("THORNABEE", "QUILLFEATHER")
"""Parts of every hospital ID and path here: they must be in no output."""

ROLES = ("contrast_enhanced", "mixed", "mixed", "tumour", "mixed")
"""What becomes of a patient, in turn; of a mixed one, the first image is not lumbar."""


@dataclass(frozen=True)
class Made:
    """Where things lie."""

    config: Config

    @property
    def tables(self) -> dict[str, Path]:
        folder = self.config.results / "cohort"
        names = ("ledger.csv", "exclusions.csv", "flow.json", "labels.csv", "split.csv")
        return {name.split(".")[0]: folder / name for name in names}

    @property
    def all(self) -> dict[str, Path]:
        folder = self.config.results / "cohort"
        return {
            **self.tables,
            "index": folder / "index.parquet",
            "proof": folder / "split_proof.json",
            "store": folder / "slices.npy",
            "boxes": folder / "slices.csv",
            "diagram": folder / "flow.svg",
        }


def make(folder: Path, *, patients: int, images: int, synthetic: bool = True) -> Made:
    """Write everything that the report reads of a cohort."""
    made = Made(
        Config(cohort=folder / "cohort", results=folder / "results", private=folder / "private")
    )
    tables = make_tables(patients, images, synthetic=synthetic)
    for name, frame in (
        ("ledger", tables.ledger),
        ("exclusions", tables.exclusions),
        ("labels", tables.labels),
        ("split", tables.split),
    ):
        schemas.write(getattr(schemas, name.upper()), frame, made.tables[name])
    made.tables["flow"].write_text(json.dumps(tables.flow))
    made.all["proof"].write_text(json.dumps(proof(tables.split)))
    made.all["diagram"].write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    _store(tables, made)
    index = make_index(tables.ledger)
    index.loc[0, "pixel_hash"] = _cohort(tables.ledger, made, synthetic=synthetic)
    schemas.write(schemas.INDEX, index, made.all["index"])
    return made


def make_tables(patients: int, images: int, *, synthetic: bool = True) -> Tables:
    """Return tables of `patients` times `images` files, and one file of nobody."""
    number = np.arange(patients * images)
    patient, image = number // images, number % images
    role = np.array(ROLES)[patient % len(ROLES)]
    criterion = np.where(role == "mixed", np.where(image == 0, "not_lumbar", ""), role)
    flagged = (criterion == "") & (image == 1)
    ledger = pd.DataFrame(
        {
            "file_key": keys("F", number),
            "image_key": keys("I", number),
            "patient_key": keys("P", patient),
            "series_key": keys("S", patient),
            "status": np.where(criterion == "", "included", "excluded"),
            "criterion": criterion,
            "code": "",
            "reason": "",
            "evidence": np.where(criterion == "", "", "</script><b>because</b>"),
            "threshold": "",
            "decided_by": "rule",
            "all_criteria": np.where(flagged, "cement?", criterion),
        }
    )
    nobody = dict.fromkeys(ledger.columns, "") | {
        "file_key": "F-ffffffffffffffff",
        "status": "excluded",
        "criterion": "unreadable",
        "decided_by": "rule",
        "all_criteria": "unreadable",
    }
    ledger = pd.concat([ledger, pd.DataFrame([nobody])], ignore_index=True)
    labels = make_labels(ledger[ledger["status"] == "included"])
    split = labels[["image_key", "patient_key"]].assign(stratum=labels["label"])
    order = split["patient_key"].str[2:].map(lambda digits: int(digits, 16))
    split["subset"] = np.array(schemas.SUBSETS)[order % 3]
    return Tables(
        flow=make_flow(ledger, synthetic=synthetic),
        ledger=ledger,
        exclusions=make_exclusions(ledger),
        labels=labels,
        split=split[["image_key", "patient_key", "subset", "stratum"]],
    )


def keys(letter: str, numbers: np.ndarray) -> list[str]:
    return [f"{letter}-{number + 1:016x}" for number in numbers]


def make_labels(included: pd.DataFrame) -> pd.DataFrame:
    number = included["patient_key"].str[2:].map(lambda digits: int(digits, 16)) // 3 % 3
    count = included.groupby("patient_key").cumcount()
    return pd.DataFrame(
        {
            "image_key": included["image_key"],
            "file_key": included["file_key"],
            "patient_key": included["patient_key"],
            "study_key": "E-" + included["patient_key"].str[2:],
            "level": np.array(schemas.LEVELS)[count % 4],
            "x_min": 12.0,
            "y_min": 12.0,
            "x_max": 36.0,
            "y_max": 30.0,
            "t_score": np.array(["0.1", "-1.8", "-3.0"])[number],
            "label": np.array(schemas.CLASSES)[number],
        }
    ).reset_index(drop=True)


def make_exclusions(ledger: pd.DataFrame) -> pd.DataFrame:
    own = ledger[ledger["patient_key"] != ""]
    kept = (
        (own["status"] == "included").groupby(own["patient_key"], sort=False).agg(["size", "sum"])
    )
    first = own.groupby("patient_key", sort=False)["criterion"].first()
    criterion = first.where(kept["sum"] == 0, "")
    return pd.DataFrame(
        {
            "patient_key": kept.index,
            "status": np.where(kept["sum"] > 0, "included", "excluded"),
            "n_files": kept["size"].to_numpy(),
            "n_included": kept["sum"].to_numpy(),
            "criterion": criterion.to_numpy(),
            "reason": "",
        }
    )


def make_flow(ledger: pd.DataFrame, *, synthetic: bool) -> dict[str, Any]:
    """Return what flow.json says, counted criterion by criterion."""
    count = Counter(ledger)
    standing = np.ones(len(ledger), dtype=bool)
    found = vars(count(standing))
    excluded_by = make_exclusions(ledger)["criterion"].value_counts()
    review = {
        "slug": REVIEW,
        "code": REVIEW_CODE,
        "scope": "file",
        "reason": "A reader excluded it.",
        "threshold": "",
        "enabled": True,
        "source": "review.csv",
    }
    steps = []
    for about in (review, *(vars(one) for one in criteria_table(Exclude()))):
        own = (ledger["criterion"] == about["slug"]).to_numpy()
        flagged = (ledger["all_criteria"] == f"{about['slug']}?").to_numpy()
        before, standing = count(standing), standing & ~own
        after = count(standing)
        steps.append(
            {
                **about,
                "removed": {
                    unit: getattr(before, unit) - getattr(after, unit) for unit in vars(after)
                },
                "remain": vars(after),
                "failed": vars(count(own)),
                "flagged": vars(count(flagged)),
                "not_evaluated": vars(count(own & False)),
                "patients_excluded": int(excluded_by.get(about["slug"], 0)),
            }
        )
    flagged = ledger["all_criteria"].str.endswith("?").to_numpy()
    return {
        "cohort": {"name": "nobody & co", "synthetic": synthetic},
        "found": found,
        "files_without_patient": int((ledger["patient_key"] == "").sum()),
        "steps": steps,
        "included": vars(count(standing)),
        "included_flagged": vars(count(flagged)),
        "included_not_evaluated": vars(count(flagged & False)),
    }


def proof(split: pd.DataFrame) -> dict[str, Any]:
    """Return what the report shows of split_proof.json."""
    kinds = ("patient", "study", "sop_uid", "pixel_hash")
    sizes = split["subset"].value_counts().to_dict()
    return {
        "source": "drawn",
        "unit": "patient",
        "seed": 0,
        "distinct": dict.fromkeys(kinds, sizes),
        "shared": {
            kind: {"train-validation": 0, "train-test": 0, "validation-test": 0} for kind in kinds
        },
    }


def make_index(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return an index of plain CT slices."""
    number = np.arange(len(ledger))
    text = {
        "series_key": ledger["series_key"],
        "study_key": "",
        "patient_key": ledger["patient_key"],
        "image_key": ledger["image_key"],
        "fault": "",
        "transfer_syntax": "",
        "sop_class": "CT Image Storage",
        "modality": "CT",
        "image_kind": np.where(number % 7 == 3, "secondary", "original"),
        "vendor": np.where(number % 2, "ge", "siemens"),
        "kernel": "BONE",
        "contrast": "none",
        "geometry_fault": "",
        "pixel_hash": "",
    }
    flags = dict.fromkeys(("uid_known", "readable", "decoded", "date_known", "hu_scale"), True)
    frame = pd.DataFrame({"file_key": ledger["file_key"], **text, **flags})
    for name, column in schemas.INDEX.columns.items():
        if name not in frame:
            whole = "Int" in str(column.dtype)
            frame[name] = pd.array([1] * len(frame), dtype="Int64") if whole else 1.0
    return frame[list(schemas.INDEX.columns)]


def _store(tables: Tables, made: Made) -> None:
    images = len(tables.labels)
    ramp = np.linspace(-450, 1050, SIZE_PX * SIZE_PX).reshape(SIZE_PX, SIZE_PX).astype(np.int16)
    np.save(made.all["store"], np.broadcast_to(ramp, (images, SIZE_PX, SIZE_PX)))
    slices = tables.labels.assign(row=np.arange(images))
    schemas.write(schemas.SLICES, slices[list(schemas.SLICES.columns)], made.all["boxes"])


def _cohort(ledger: pd.DataFrame, made: Made, *, synthetic: bool) -> str:
    """Write the cohort folder and the private map; return the pixel hash of its one file."""
    folder = CohortFolder(made.config.cohort)
    path = folder.dicom / HOSPITAL_IDS[1] / "1.dcm"
    path.parent.mkdir(parents=True)
    facts = {"name": "nobody & co", "synthetic": synthetic, "phantom_seed": 1}
    (folder.path / "cohort.json").write_text(json.dumps(facts))
    rows = [f"{HOSPITAL_IDS[0]}-{key},{'FM'[n % 2]},{50 + n}" for n, key in _people(ledger)]
    folder.clinical.write_text("patient_id,sex,age\n" + "\n".join(rows) + "\n")
    vault = open_vault(made.config.private, folder, create=True)
    named = ledger["patient_key"].where(
        ledger["patient_key"] == "", HOSPITAL_IDS[0] + "-" + ledger["patient_key"]
    )
    identities = pd.DataFrame(dict.fromkeys(schemas.MAP.columns, ""), index=ledger.index)
    identities = identities.assign(
        file_key=ledger["file_key"],
        patient_key=ledger["patient_key"],
        patient_id=named,
        relative_path=f"{HOSPITAL_IDS[1]}/0.dcm",
    )
    identities.loc[0, "relative_path"] = f"{HOSPITAL_IDS[1]}/1.dcm"
    schemas.write(schemas.MAP, identities, vault.map_path)
    save_ct(path)
    evidence = reader.read(str(path), Thresholds(2500, 1500)).evidence
    assert evidence is not None
    return evidence.pixel_hash


def _people(ledger: pd.DataFrame) -> list[tuple[int, str]]:
    return list(enumerate(key for key in ledger["patient_key"].unique() if key))


def save_ct(path: Path, **elements: object) -> None:
    """Write a CT slice of 16 x 8 pixels of 1 x 2 mm."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.PatientName = "CT", HOSPITAL_IDS[0]
    dataset.PixelSpacing = [1, 2]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.Rows, dataset.Columns = 16, 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.full((16, 8), 1324, dtype="<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
