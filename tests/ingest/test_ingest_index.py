from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ct_builder import ct_slice, read, save

from dsnet import schemas
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest.cache import facts_table, open_cache
from dsnet.ingest.index import identifying_values, replaced_kernels, tables
from dsnet.private import PrivateCohort


def made(
    root: Path, key: bytes = bytes(32), files: list[ScannedFile] | None = None
) -> pd.DataFrame:
    """Return index and map joined, by relative path."""
    index, identities = tables(facts_of(root, files), PrivateCohort("a" * 16, key, root))
    schemas.INDEX.validate(index)
    schemas.MAP.validate(identities)
    joined = index.merge(identities[["file_key", "relative_path"]], on="file_key", validate="1:1")
    return joined.set_index("relative_path", drop=False)


def facts_of(root: Path, files: list[ScannedFile] | None = None) -> pd.DataFrame:
    files = scan(root) if files is None else files
    return facts_table((file.relative, read(Path(file.path))) for file in files)


def test_blank_identities_are_their_folders_and_never_merged(tmp_path: Path) -> None:
    blank = {"PatientID": "", "StudyInstanceUID": "", "SeriesInstanceUID": "", "SOPInstanceUID": ""}
    for path in ("x/1", "x/2", "y/1", "0"):
        save(ct_slice(**blank), tmp_path / path)
    rows = made(tmp_path)
    for column in ("patient_key", "study_key", "series_key"):
        assert rows.loc["x/1", column] == rows.loc["x/2", column]
        assert rows[column].nunique() == 3
    assert rows["image_key"].nunique() == 4
    assert not rows["uid_known"].any()


def test_known_identities_are_merged_across_folders(tmp_path: Path) -> None:
    uid = ct_slice().SOPInstanceUID
    save(ct_slice(PatientID="000123", SOPInstanceUID=uid), tmp_path / "x" / "1")
    save(ct_slice(PatientID=" 000123 ", SOPInstanceUID=uid), tmp_path / "y" / "1")
    save(ct_slice(PatientID="123"), tmp_path / "y" / "2")
    rows = made(tmp_path)
    assert rows.loc["x/1", "patient_key"] == rows.loc["y/1", "patient_key"]
    assert rows.loc["x/1", "image_key"] == rows.loc["y/1", "image_key"]
    assert rows["patient_key"].nunique() == 2
    private = PrivateCohort("a" * 16, bytes(32), tmp_path)
    assert rows.loc["x/1", "patient_key"] == private.pseudonym("patient", "000123")


@pytest.mark.filterwarnings("ignore:The value length")
def test_a_kernel_that_may_be_a_name_is_replaced(tmp_path: Path) -> None:
    kernels = {
        "a": "BONEPLUS",
        "b": "Thornabee",
        "c": "Thornabee",
        "d": "Soft Tissue Reconstruction",
    }
    for name, kernel in kernels.items():
        save(ct_slice(ConvolutionKernel=kernel), tmp_path / name)
    rows = made(tmp_path)
    assert rows.loc[["a", "d"], "kernel"].tolist() == ["BONEPLUS", "Soft Tissue Reco"]
    placeholder = rows.loc["b", "kernel"]
    assert placeholder == rows.loc["c", "kernel"]
    assert placeholder.startswith("K-")
    assert placeholder != made(tmp_path, b"x" * 32).loc["b", "kernel"]
    facts = facts_of(tmp_path)
    private = PrivateCohort("a" * 16, bytes(32), tmp_path)
    replaced = replaced_kernels(facts["kernel"], private)
    assert replaced.to_dict("records") == [{"kernel": placeholder, "text": "Thornabee"}]
    _, identities = tables(facts, private)
    (patient_key,) = identities["patient_key"].unique()
    texts = facts[["kernel"]].assign(patient_key=patient_key)
    with open_cache(tmp_path / "cache") as cache:
        none = cache.identifying(pd.Series([], dtype=str))
    (met,) = identifying_values(none, texts, [])
    assert met.loc[met["value"] == "Thornabee", "kind"].tolist() == ["ConvolutionKernel"]


def test_images_that_share_a_position_are_counted(tmp_path: Path) -> None:
    hu = np.zeros((8, 8), int)
    for name, value, elements in (
        ("a", 1, {}),
        ("b", 2, {}),
        ("copy of b", 2, {}),
        ("derived", 3, {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
        ("next", 4, {"ImagePositionPatient": [0, 0, 11]}),
        ("other series", 5, {"SeriesInstanceUID": "1.2.9"}),
        ("other side", 6, {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]}),
    ):
        save(ct_slice(hu + value, **elements), tmp_path / name)
    cut = save(ct_slice(hu + 7), tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:-9])
    rows = made(tmp_path)["images_at_position"]
    assert rows[["a", "b", "copy of b"]].tolist() == [2, 2, 2]
    assert rows[["derived", "next", "other series", "other side"]].tolist() == [1, 1, 1, 1]
    assert pd.isna(rows["cut"])


def test_keys_made_from_paths_differ_between_cohorts(tmp_path: Path) -> None:
    save(ct_slice(PatientID="", SOPInstanceUID=""), tmp_path / "IM00001")
    facts = facts_of(tmp_path)
    one, other = (
        tables(facts, PrivateCohort(name * 16, bytes(32), tmp_path))[0].iloc[0] for name in "ab"
    )
    for column in ("file_key", "image_key", "patient_key"):
        assert one[column] != other[column]
    assert one["study_key"] == other["study_key"]


def test_one_series_uid_of_two_patients_is_two_series(tmp_path: Path) -> None:
    for patient in ("1", "2"):
        save(ct_slice(PatientID=patient), tmp_path / patient)
    rows = made(tmp_path)
    assert rows["series_key"].nunique() == 2


def test_ties_are_settled_by_the_rank_of_the_path(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        save(ct_slice(), tmp_path / name)
    assert made(tmp_path)["path_rank"].to_dict() == {"a": 0, "b": 1, "c": 2}


def test_an_unreadable_file_has_a_row_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "NOTES.TXT").write_text("Thornabee^Greta")
    row = made(tmp_path).loc["NOTES.TXT"]
    assert row["fault"] == "not_dicom"
    keys = ["image_key", "series_key", "study_key", "patient_key", "geometry_fault", "pixel_hash"]
    assert set(row[keys]) == {""}
    assert row[["rows", "slice_number", "hu_max", "tilt_deg"]].isna().all()


def test_order_and_spacing_come_from_positions_alone(tmp_path: Path) -> None:
    for name, z_mm in {"a": 30, "b": 10, "c": 20, "d": 50}.items():
        save(ct_slice(ImagePositionPatient=[0, 0, z_mm], InstanceNumber=ord(name)), tmp_path / name)
    scout = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [7, 0, 0]}
    save(ct_slice(**scout), tmp_path / "scout")
    save(ct_slice(ImagePositionPatient=None), tmp_path / "lost")
    save(ct_slice(SeriesInstanceUID="1.2.9", ImagePositionPatient=[0, 0, 11]), tmp_path / "other")
    rows = made(tmp_path)
    assert rows.loc[list("abcd"), "slice_number"].tolist() == [3, 1, 2, 4]
    assert set(rows.loc[list("abcd"), "series_spacing_mm"]) == {10}
    assert rows.loc["a", "irregular_fraction"] == pytest.approx(1 / 3)
    assert rows.loc[["scout", "other"], "slice_number"].tolist() == [1, 1]
    assert rows.loc[["scout", "other"], "series_spacing_mm"].isna().all()
    assert pd.isna(rows.loc["lost", "slice_number"])


@given(key=st.binary(min_size=32, max_size=32), order=st.permutations(range(7)))
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_row_order_depends_neither_on_the_key_nor_on_the_order_of_files(
    tmp_path: Path, key: bytes, order: list[int]
) -> None:
    if not (tmp_path / "notes").exists():
        generator = np.random.default_rng(1)
        for number in range(6):
            dataset = ct_slice(generator.integers(0, 99, (4, 4)), PatientID=str(number % 3))
            save(dataset, tmp_path / f"{number}")
        (tmp_path / "notes").write_text("nothing")
    files = scan(tmp_path)
    rows = made(tmp_path, key, [files[number] for number in order])
    assert list(rows["relative_path"]) == list(made(tmp_path)["relative_path"])
    assert rows["relative_path"].iloc[-1] == "notes"
    readable = rows[rows["readable"]]
    assert (readable["patient_key"] != readable["patient_key"].shift()).sum() == 3


def test_nothing_but_faults_is_a_table_too(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
    assert list(made(tmp_path)["fault"]) == ["empty_file"] * 2
