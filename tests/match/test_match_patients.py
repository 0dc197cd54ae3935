from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made_index import PRIVATE, UNREADABLE, cohort, dxa, exam, key, of_ct

from dsnet import schemas
from dsnet.cohort.exams import DxaTable
from dsnet.match.patients import age_of, near_misses, patients_table, read_clinical, sex_of

HEADER = "patient_id,fracture_history,spine_surgery,tumour,bone_hyperplasia,sex,age\n"


@pytest.fixture
def clinical(tmp_path: Path) -> Path:
    return tmp_path / "clinical.csv"


def table(clinical: Path, measured: DxaTable, *rows: dict[str, Any]) -> pd.DataFrame:
    index, identities = cohort(*rows)
    patients = patients_table(
        of_ct(index, identities),
        measured,
        read_clinical(clinical),
        near_misses({"ct": identities["patient_id"], "dxa": measured.exams}),
        clinical=clinical,
        private=PRIVATE,
    )
    return schemas.PATIENTS.validate(patients)


def test_patients_of_the_ct_come_first_and_all_others_after_them(clinical: Path) -> None:
    clinical.write_text(HEADER + "004,,,,,,\n001,,,,,,\n")
    measured = dxa(exam("003"), exam("002"))
    rows = [{"patient": 2}, {}, {"patient": 2}, {"patient": 5, "patient_id": ""}, UNREADABLE]
    patients = table(clinical, measured, *rows)
    dxa_only, clinical_only = (PRIVATE.pseudonym("patient", name) for name in ("003", "004"))
    assert list(patients["patient_key"]) == [
        key("P", 2),
        key("P", 1),
        key("P", 5),
        dxa_only,
        clinical_only,
    ]
    assert list(patients["in_ct"]) == [True, True, True, False, False]
    assert list(patients["in_dxa"]) == [True, False, False, True, False]
    assert list(patients["in_clinical"]) == [False, True, False, False, True]


def test_histories_are_yes_no_or_unknown(clinical: Path) -> None:
    clinical.write_text(HEADER + "001,yes,no,,1,,\n003,no,,,,,\n")
    patients = table(clinical, dxa(), {}, {"patient": 2}).set_index("patient_key")
    names = list(schemas.HISTORIES)
    assert list(patients.loc[key("P", 1), names]) == ["yes", "no", "", "yes"]
    assert list(patients.loc[key("P", 2), names]) == ["", "", "", ""]
    assert list(patients[names].iloc[2]) == ["no", "", "", ""]


def test_a_blank_patient_id_has_nothing_of_the_tables(clinical: Path) -> None:
    clinical.write_text(HEADER + "001,,,,,M,50\n")
    patients = table(clinical, dxa(exam("001")), {"patient": 5, "patient_id": ""})
    assert list(patients["sex"]) == ["", "male"]
    assert list(patients["fracture_history"]) == ["", ""]
    assert list(patients["in_dxa"]) == [False, True]


def test_sex_and_age_are_read_and_high_ages_are_one_group(clinical: Path) -> None:
    clinical.write_text(HEADER + "001,,,,,F,89\n002,,,,,w,90\n003,,,,,m,97\n004,,,,,?,unknown\n")
    rows = [{"patient": number} for number in (1, 2, 3, 4, 5)]
    patients = table(clinical, dxa(), *rows)
    assert list(patients["sex"]) == ["female", "female", "male", "", ""]
    assert patients["age"].astype(object).where(patients["age"].notna(), None).tolist() == [
        89,
        90,
        90,
        None,
        None,
    ]


def test_sex_and_age_need_no_columns(clinical: Path) -> None:
    clinical.write_text(HEADER.removesuffix(",sex,age\n") + "\n001,no,no,no,no\n")
    patients = table(clinical, dxa(), {})
    assert list(patients["sex"]) == [""]
    assert patients["age"].isna().all()


def test_near_misses_count_on_both_sides(clinical: Path) -> None:
    measured = dxa(exam("1"), exam("01"), exam("002"), exam("9"))
    patients = table(clinical, measured, {}, {"patient": 2}).set_index("patient_key")
    ids = {name: PRIVATE.pseudonym("patient", name) for name in ("1", "01", "9")}
    assert patients["near_misses"].to_dict() == {
        key("P", 1): 2,
        key("P", 2): 0,
        ids["1"]: 2,  # that of the CT, and the other spelling
        ids["01"]: 2,
        ids["9"]: 0,
    }


def test_no_patient_at_all_is_legal(clinical: Path) -> None:
    assert table(clinical, dxa(), UNREADABLE).empty


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("63", 63),
        (" 63 ", 63),
        ("063Y", 63),
        ("063y", 63),
        ("63.9", 63),
        ("63,5", 63),
        ("89", 89),
        ("90", 90),
        ("094Y", 90),
        ("0", 0),
        ("", None),
        ("old", None),
        ("006M", None),
        ("-5", None),
        ("1234", None),
    ],
)
def test_ages_as_tables_and_headers_write_them(text: str, years: int | None) -> None:
    assert age_of(text) == years


@pytest.mark.parametrize(
    ("sex", "texts"),
    [
        ("female", ["F", " f ", "Female", "w", "WOMAN"]),
        ("male", ["M", "male", "man"]),
        ("other", ["O", "other", "d", "diverse"]),
        ("", ["", "x", "fm", "unknown"]),
    ],
)
def test_sexes_as_tables_write_them(sex: str, texts: list[str]) -> None:
    assert {sex_of(text) for text in texts} == {sex}
