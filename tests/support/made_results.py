"""A results folder as the steps write it, of invented patients, from a ledger made by hand."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Exclude
from dsnet.config.load import Config
from dsnet.exclude.criteria import criteria_table
from dsnet.exclude.criterion import REVIEW
from dsnet.exclude.step import counter
from dsnet.files import sha256
from dsnet.private import open_private, phantom_id
from dsnet.report.counts import Tables
from dsnet.results import Results
from dsnet.slices.thumbnails import picture
from support.made_index import source_of

SIZE_PX = 48
SEED = 1
"""Of the phantom that the results claim to be of: its key is public."""

ROLES = ("contrast_enhanced", "mixed", "mixed", "tumour", "mixed")
"""What becomes of a patient, in turn; of a mixed one, the first image is not lumbar."""


@dataclass(frozen=True)
class Made:
    """Where the results of `tables` lie; there is no cohort folder and no private folder."""

    config: Config
    tables: Tables

    @property
    def results(self) -> Results:
        return Results(self.config.results)

    def path(self, name: str) -> Path:
        return self.config.results / "cohort" / name


def make(folder: Path, *, patients: int, images: int, synthetic: bool = True) -> Made:
    """Write all that the report reads of a cohort; one excluded image has a thumbnail."""
    tables = make_tables(patients, images, synthetic=synthetic)
    return write_results(folder, tables, synthetic=synthetic)


def write_results(folder: Path, tables: Tables, *, synthetic: bool = True) -> Made:
    """Write the results that belong to `tables`."""
    config = Config(
        cohort=folder / "cohort", results=folder / "results", private=folder / "private"
    )
    made = Made(config, tables)
    index = make_index(tables.ledger)
    frames = {
        "index.parquet": index,
        "ledger.csv": tables.ledger,
        "exclusions.csv": tables.exclusions,
        "patients.csv": make_patients(tables.exclusions),
        "exams.csv": make_exams(tables.ledger),
        "thumbnails.parquet": make_thumbnails(tables.ledger),
    }
    if not tables.nothing_included:
        slices = tables.labels.assign(row=np.arange(len(tables.labels)))
        frames |= {"labels.csv": tables.labels, "split.csv": tables.split, "slices.csv": slices}
        frames["box_checks.csv"] = slices.assign(bone_fraction=0.4, flag="")
    for name, frame in frames.items():
        schema = getattr(schemas, name.partition(".")[0].upper())
        columns = [column for column in schema.columns if column in frame]
        schemas.write(schema, frame[columns], made.path(name))
    write = {"flow.json": tables.flow, "source.json": make_source(made, index, synthetic)}
    if not tables.nothing_included:
        images = len(tables.labels)
        ramp = np.linspace(-450, 1050, SIZE_PX * SIZE_PX).reshape(SIZE_PX, SIZE_PX)
        store = np.broadcast_to(ramp.astype(np.int16), (images, SIZE_PX, SIZE_PX))
        np.save(made.path("slices.npy"), store)
        write["split_proof.json"] = make_proof(tables.split)
        write["slices.json"] = {
            **tables.flow["cohort"],
            "cohort": tables.cohort,
            "boxes_sha256": sha256(made.path("slices.csv")),
            "split_sha256": sha256(made.path("split.csv")),
        }
    for name, content in write.items():
        made.path(name).write_text(json.dumps(content))
    return made


def write_map(
    made: Made,
    patient_ids: dict[str, str],
    paths: dict[str, str],
    more: dict[str, dict[str, str]] | None = None,
) -> None:
    """Write the private map, with hospital IDs by patient, paths and other cells by file."""
    ledger = made.tables.ledger
    private = open_private(made.config.private, phantom_id(SEED), phantom_seed=SEED, create=True)
    identities = pd.DataFrame(dict.fromkeys(schemas.MAP.columns, ""), index=ledger.index)
    identities = identities.assign(
        file_key=ledger["file_key"],
        patient_key=ledger["patient_key"],
        patient_id=[patient_ids.get(key, "") for key in ledger["patient_key"]],
        relative_path=[paths.get(key, "elsewhere") for key in ledger["file_key"]],
    )
    for file_key, cells in (more or {}).items():
        for name, cell in cells.items():
            identities.loc[identities["file_key"] == file_key, name] = cell
    schemas.write(schemas.MAP, identities, private.map_path)


def make_tables(patients: int, images: int, *, synthetic: bool = True) -> Tables:
    """Return tables of `patients` times `images` files, and one file without a patient."""
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
            "study_key": keys("E", patient),
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
    unreadable = dict.fromkeys(ledger.columns, "") | {
        "file_key": "F-ffffffffffffffff",
        "status": "excluded",
        "criterion": "unreadable",
        "decided_by": "rule",
        "all_criteria": "unreadable",
    }
    ledger = pd.concat([ledger, pd.DataFrame([unreadable])], ignore_index=True)
    return tables_of(ledger, synthetic=synthetic)


def tables_of(ledger: pd.DataFrame, *, synthetic: bool = True) -> Tables:
    """Return the tables that follow from a ledger."""
    labels = make_labels(ledger[ledger["status"] == "included"])
    split = labels[["image_key", "patient_key"]].assign(stratum=labels["label"])
    split["subset"] = np.array(schemas.SUBSETS)[[_digits(key) % 3 for key in split["patient_key"]]]
    return Tables(
        flow=make_flow(ledger, synthetic=synthetic),
        ledger=ledger,
        exclusions=make_exclusions(ledger),
        labels=labels,
        split=split[["image_key", "patient_key", "subset", "stratum"]],
    )


def keys(letter: str, numbers: np.ndarray) -> list[str]:
    return [f"{letter}-{number + 1:016x}" for number in numbers]


def _digits(key: str) -> int:
    return int(key[2:], 16)


def make_labels(included: pd.DataFrame) -> pd.DataFrame:
    number = [_digits(key) // 3 % 3 for key in included["patient_key"]]
    count = included.groupby("patient_key").cumcount()
    return pd.DataFrame(
        {
            "image_key": included["image_key"],
            "file_key": included["file_key"],
            "patient_key": included["patient_key"],
            "study_key": included["study_key"],
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
            "reason": criterion.map(_reasons()).fillna("").to_numpy(),
        }
    )


def _reasons() -> dict[str, str]:
    return {one.slug: one.reason for one in criteria_table(Exclude())}


def make_flow(ledger: pd.DataFrame, *, synthetic: bool) -> dict[str, Any]:
    """Return what flow.json says, counted criterion by criterion."""
    count = counter(ledger)
    standing = np.ones(len(ledger), dtype=bool)
    every = count(standing)
    excluded_by = make_exclusions(ledger)["criterion"].value_counts()
    listed = ledger["all_criteria"].str.split(";")
    steps = []
    for about in (vars(one) for one in (REVIEW, *criteria_table(Exclude()))):
        own = (ledger["criterion"] == about["slug"]).to_numpy()
        failed = np.array([about["slug"] in slugs for slugs in listed])
        flagged = np.array([f"{about['slug']}?" in slugs for slugs in listed])
        before, standing = count(standing), standing & ~own
        after = count(standing)
        steps.append(
            {
                **about,
                "removed": {unit: before[unit] - number for unit, number in after.items()},
                "remain": after,
                "failed": count(failed),
                "flagged": count(flagged),
                "not_evaluated": count(own & False),
                "patients_excluded": int(excluded_by.get(about["slug"], 0)),
            }
        )
    flagged = ledger["all_criteria"].str.endswith("?").to_numpy()
    return {
        "cohort": {"name": "made & up", "synthetic": synthetic},
        "found": every,
        "files_without_patient": int((ledger["patient_key"] == "").sum()),
        "steps": steps,
        "included": count(standing),
        "included_flagged": count(flagged),
        "included_not_evaluated": count(flagged & False),
    }


def make_proof(split: pd.DataFrame) -> dict[str, Any]:
    """Return what the report shows of split_proof.json."""
    kinds = ("patient", "study", "sop_uid", "pixel_hash")
    sizes = split["subset"].value_counts().to_dict()
    return {
        "source": "generated",
        "unit": "patient",
        "seed": 0,
        "distinct": dict.fromkeys(kinds, sizes),
        "shared": {
            kind: {"train-validation": 0, "train-test": 0, "validation-test": 0} for kind in kinds
        },
    }


def make_source(made: Made, index: pd.DataFrame, synthetic: bool) -> dict[str, Any]:
    """Return what source.json says: results of the phantom `SEED`."""
    private = open_private(made.config.private, phantom_id(SEED), phantom_seed=SEED)
    return source_of(
        cohort_id=private.cohort_id,
        key=private.fingerprint,
        name=made.tables.cohort,
        synthetic=synthetic,
        phantom_seed=SEED,
        **dict.fromkeys(("files", "readable", "decoded"), len(index)),
        index_sha256=sha256(made.path("index.parquet")),
    ).to_json()


def make_index(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return an index of plain CT slices."""
    number = np.arange(len(ledger))
    text = {
        **{name: ledger[name] for name in ("series_key", "study_key", "patient_key", "image_key")},
        "sop_class": "CT Image Storage",
        "modality": "CT",
        "image_kind": np.where(number % 7 == 3, "secondary", "original"),
        "vendor": np.where(number % 2, "ge", "siemens"),
        "kernel": "BONE",
        "contrast": "none",
    }
    flags = {
        name: True for name, column in schemas.INDEX.columns.items() if "bool" in _type(column)
    }
    frame = pd.DataFrame({"file_key": ledger["file_key"], **text, **flags})
    for name, column in schemas.INDEX.columns.items():
        if name not in frame:
            dtype = _type(column)
            value = "" if "str" in dtype else 1
            frame[name] = pd.Series(value, index=frame.index, dtype=column.dtype.type)
    return frame[list(schemas.INDEX.columns)]


def _type(column: Any) -> str:
    return str(column.dtype).lower()


def make_patients(exclusions: pd.DataFrame) -> pd.DataFrame:
    """Return patients with every trait; ages rise from 50, sexes alternate."""
    number = np.arange(len(exclusions))
    frame = pd.DataFrame(
        {
            "patient_key": exclusions["patient_key"],
            **dict.fromkeys(("in_ct", "in_dxa", "in_clinical"), True),
            "sex": np.array(["female", "male"])[number % 2],
            "age": pd.array(50 + number % 30, dtype="Int64"),
            **dict.fromkeys(schemas.HISTORIES, "no"),
            "near_misses": 0,
        }
    )
    return frame[list(schemas.PATIENTS.columns)]


def make_exams(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return one exam for each study, ten days before it."""
    studies = ledger.loc[ledger["study_key"] != "", ["patient_key", "study_key"]].drop_duplicates()
    scores = {name: "-1.8" for name in schemas.EXAMS.columns if "_t_score" in name}
    rows = np.arange(2, len(studies) + 2)
    return studies.assign(dxa_row=rows, interval_days="10", status="nearest", **scores)


def make_thumbnails(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return a picture of the first file, which is excluded."""
    made = picture(np.full((16, 8), 300, dtype=np.int16), (1.0, 2.0))
    row = (ledger["file_key"].iloc[0], *made)
    return pd.DataFrame([row], columns=list(schemas.THUMBNAILS.columns))
