from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from support.made_results import Made, make_index, make_tables, write_map, write_results

from dsnet import schemas
from dsnet.config.output import Report
from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.slices.thumbnails import EDGE_PX, bone_window, choose, showable, thumbnails

UID = "1.2.3"


def small_ledger(patients: int, images: int) -> pd.DataFrame:
    """Return what the rule looks at: every third patient out, every fourth image flagged."""
    number = np.arange(patients * images)
    patient = number // images
    criterion = np.where(patient % 3 == 0, "tumour", "")
    return pd.DataFrame(
        {
            "patient_key": patient.astype(str),
            "criterion": criterion,
            "all_criteria": np.where((criterion == "") & (number % 4 == 0), "cement?", criterion),
        }
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 80))
def test_the_sample_is_bounded_and_spread(patients: int, images: int, number: int) -> None:
    ledger = small_ledger(patients, images)
    candidates = pd.Series(np.arange(len(ledger)) % 5 != 4)
    chosen = choose(ledger, candidates, number)
    assert len(chosen) == len(set(chosen)) == min(number, int(candidates.sum()))
    kinds = ledger.loc[candidates, "criterion"].nunique()
    assert ledger.loc[chosen, "criterion"].nunique() >= min(number // 2, kinds)
    assert candidates[chosen].all()
    # More asked for only adds.
    assert choose(ledger, candidates, number + 1)[:number] == chosen


def test_the_middle_image_comes_first() -> None:
    ledger = small_ledger(1, 7)
    assert choose(ledger, ledger["patient_key"] != "", 7)[0] == 3


def test_the_bone_window_ends_at_its_edges() -> None:
    grey = bone_window(np.array([-2000, -450, 300, 1050, 3000]))
    assert list(grey) == [0, 0, 128, 255, 255]


def test_secondary_captures_are_never_shown() -> None:
    tables = make_tables(5, 4)
    index = make_index(tables.ledger)
    index["image_kind"] = "original"
    assert showable(tables.ledger, index).all()
    index.loc[0, "image_kind"] = "secondary"
    assert not showable(tables.ledger, index)[0]


def save_ct(path: Path, **elements: object) -> str:
    """Write a CT slice of 16 x 8 pixels of 1 x 2 mm at 300 HU; return its pixel hash."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID
    dataset.Modality = "CT"
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
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    evidence = reader.read(str(path), Thresholds(2500, 1500)).evidence
    assert evidence is not None
    return evidence.pixel_hash


def pictures(made: Made, number: int = 100) -> pd.DataFrame:
    path = made.path("thumbnails.parquet")
    thumbnails(
        report=Report(thumbnails=number),
        cohort=made.config.cohort,
        private=made.config.private,
        source=made.path("source.json"),
        index=made.path("index.parquet"),
        ledger=made.path("ledger.csv"),
        pictures=path,
    )
    return schemas.read(schemas.THUMBNAILS, path)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return results of which one excluded image has a real file."""
    made = write_results(tmp_path, make_tables(5, 4))
    pixel_hash = save_ct(made.config.cohort / "dicom" / "a" / "1.dcm")
    first = made.tables.ledger["file_key"].iloc[0]
    write_map(
        made, {}, {first: "a/1.dcm"}, {first: {"pixel_hash": pixel_hash, "sop_instance_uid": UID}}
    )
    return made


def test_an_excluded_image_is_shown_from_its_file(made: Made) -> None:
    (row,) = pictures(made).to_dict("records")
    assert row["file_key"] == made.tables.ledger["file_key"].iloc[0]
    # 16 rows of 1 mm, 8 columns of 2 mm.
    assert (row["width_px"], row["height_px"]) == (EDGE_PX, EDGE_PX)


def test_none_is_made_when_none_is_wanted(made: Made) -> None:
    assert pictures(made, number=0).empty


@pytest.mark.parametrize("elements", [{"BurnedInAnnotation": "YES"}, {"RescaleIntercept": -1000}])
def test_a_file_with_burned_in_text_or_other_pixels_gives_no_picture(
    made: Made, elements: dict[str, object]
) -> None:
    pixels = {} if "BurnedInAnnotation" in elements else {"PixelData": bytes(256)}
    save_ct(made.config.cohort / "dicom" / "a" / "1.dcm", **{**elements, **pixels})
    assert pictures(made).empty
