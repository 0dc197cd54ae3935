"""What ledger, patients and flow say of cohorts made at random."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.made_index import (
    UNREADABLE,
    boxes,
    cohort,
    dxa,
    everybody,
    evidence,
    exam,
    key,
    nobody,
    verdict,
)

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Criteria, Exclude
from dsnet.exclude.evidence import gather
from dsnet.exclude.flow import flow
from dsnet.exclude.ledger import exclusions_table, ledger_table
from dsnet.exclude.registry import CRITERIA
from dsnet.exclude.verdict import judge

# Shrinking a table of fifty columns takes minutes and tells little.
PROPERTY = settings(
    deadline=None, max_examples=30, derandomize=True, phases=(Phase.explicit, Phase.generate)
)

FAULTS: list[dict[str, Any]] = [
    {},
    UNREADABLE,
    {"decoded": False, "fault": "cut_pixels"},
    {"uid": "1.2.0"},
    {"pixel_hash": "same", "position_mm": 0.0},
    {"modality": "MR"},
    {"image_kind": "localizer"},
    {"contrast": "present"},
    {"kernel": "SOFT"},
    {"kernel": "unheard of"},
    {"metal_area_mm2": 40.0},
    {"dense_area_mm2": 90.0},
    {"ct_date": ""},
    {"ct_date": "2012-01-01"},
]
YES_NO = st.sampled_from([True, False, None])
HISTORY = st.fixed_dictionaries(
    dict.fromkeys(("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia"), YES_NO)
)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[pd.DataFrame, Exclude]:
    patients = st.integers(1, 4).map(lambda patient: {"patient": patient})
    rows = draw(
        st.lists(st.tuples(patients, st.sampled_from(FAULTS)), min_size=1, max_size=15).map(
            lambda pairs: [{**patient, **fault} for patient, fault in pairs]
        )
    )
    index, identities = cohort(*rows)
    levels = draw(
        st.lists(st.sampled_from(["L1", "L3", "T12", ""]), min_size=len(rows), max_size=len(rows))
    )
    scanned = sorted(set(identities["patient_id"]) - {""})
    examined = [patient for patient in scanned if draw(st.booleans())]
    files = gather(
        index,
        identities,
        boxes(*[(number, level) for number, level in enumerate(levels) if level]),
        dxa(*[exam(patient) for patient in examined or scanned]),
        draw(st.dictionaries(st.sampled_from(["001", "002"]), HISTORY)),
        reading="patient",
    )
    off = draw(st.sets(st.sampled_from(list(Criteria.model_fields)), max_size=3))
    return files, Exclude.model_validate({"criteria": {slug: {"enabled": False} for slug in off}})


@given(cohorts())
@PROPERTY
def test_every_count_reconciles_with_the_index_to_the_last_file(
    made: tuple[pd.DataFrame, Exclude],
) -> None:
    files, params = made
    found = judge(files, params, nobody(files))
    ledger = ledger_table(files, found, params)
    patients = exclusions_table(files, found)
    told = flow(files, found, patients, params, CohortFolder(Path("nowhere")))
    schemas.LEDGER.validate(ledger)
    schemas.EXCLUSIONS.validate(patients)

    assert list(ledger["file_key"]) == list(files["file_key"])
    assert ((ledger["status"] == "included") == (ledger["criterion"] == "")).all()
    included = ledger[ledger["status"] == "included"]

    removed = pd.DataFrame([step["removed"] for step in told["steps"]]).sum()
    for kind in ("files", "images", "patients"):
        assert told["found"][kind] - removed[kind] == told["included"][kind]
    assert told["found"]["files"] == len(files)
    assert told["included"] == {
        "files": len(included),
        "images": len(set(included["image_key"]) - {""}),
        "patients": len(set(included["patient_key"]) - {""}),
    }
    left = told["found"]["files"]
    for step in told["steps"]:
        assert step["removed"]["files"] == (ledger["criterion"] == step["slug"]).sum()
        left -= step["removed"]["files"]
        assert step["remain"]["files"] == left
    assert told["files_without_patient"] == (ledger["patient_key"] == "").sum()

    assert patients["n_files"].sum() + told["files_without_patient"] == len(files)
    assert patients["n_included"].sum() == (included["patient_key"] != "").sum()
    assert ((patients["status"] == "included") == (patients["criterion"] == "")).all()
    excluded = (patients["status"] == "excluded").sum()
    assert sum(step["patients_excluded"] for step in told["steps"]) == excluded


@given(cohorts())
@PROPERTY
def test_the_first_of_all_criteria_counts(made: tuple[pd.DataFrame, Exclude]) -> None:
    files, params = made
    ledger = ledger_table(files, judge(files, params, nobody(files)), params)
    order = [rule.slug for rule in CRITERIA]
    for row in ledger.itertuples():
        listed = [slug for slug in str(row.all_criteria).split(";") if slug]
        firm = [slug for slug in listed if not slug.endswith("?")]
        assert row.criterion == (firm[0] if firm else "")
        assert [slug.rstrip("?") for slug in listed] == sorted(
            {slug.rstrip("?") for slug in listed}, key=order.index
        )
        assert bool(row.evidence) == bool(listed)
        for slug in listed:
            assert getattr(params.criteria, slug.rstrip("?")).enabled


@given(cohorts(), st.randoms(use_true_random=False))
@PROPERTY
def test_no_decision_hangs_on_the_order_of_rows_or_on_the_secret_key(
    made: tuple[pd.DataFrame, Exclude], random: Any
) -> None:
    files, params = made
    order = list(range(len(files)))
    random.shuffle(order)
    other = files.iloc[order].reset_index(drop=True)
    for letter, column in (("F", "file_key"), ("I", "image_key"), ("P", "patient_key")):
        names = sorted(set(files[column]) - {""})
        random.shuffle(names)
        renamed = {name: key(letter, f"a{number}") for number, name in enumerate(names)}
        other[column] = [renamed.get(name, "") for name in other[column]]
    before = judge(files, params, nobody(files)).criterion
    after = judge(other, params, nobody(other)).criterion
    assert list(before[order]) == list(after)


def test_nothing_identifying_enters_an_output() -> None:
    rows: list[dict[str, Any]] = [
        {
            "patient": 1,
            "patient_id": "SECRET1",
            "path": "SECRET2.dcm",
            "uid": "66.77",
            "ct_date": "",
        },
        {"patient": 1, "patient_id": "SECRET1", "path": "SECRET3.dcm", "uid": "66.77"},
        {"patient": 2, "patient_id": "SECRET4", "ct_date": "1999-12-31"},
        {"patient": 3, "patient_id": "SECRET5", "metal_area_mm2": 50.0},
    ]
    files = evidence(*rows)
    found = verdict(files)
    patients = exclusions_table(files, found)
    told = flow(files, found, patients, Exclude(), CohortFolder(Path("SECRET")))
    text = ledger_table(files, found, Exclude()).to_csv() + patients.to_csv() + str(told)
    for secret in ("SECRET", "66.77", "1999", "2020"):
        assert secret not in text


class TestPatient:
    def criterion(self, files: pd.DataFrame) -> list[str]:
        return list(exclusions_table(files, verdict(files))["criterion"])

    def test_the_first_whole_patient_failure_counts(self) -> None:
        files = evidence(
            {"contrast": "present", "metal_area_mm2": 50.0},
            {"contrast": "present"},
            exams=dxa(exam("001", L1="-1")),
        )
        assert list(verdict(files).criterion) == ["contrast_enhanced"] * 2
        assert self.criterion(files) == ["metal_artefact"]

    def test_else_the_one_that_removed_the_last_candidate(self) -> None:
        files = evidence({"contrast": "present"}, {"kernel": "SOFT"}, {"image_kind": "localizer"})
        assert self.criterion(files) == ["not_bone_kernel"]

    def test_slices_without_a_lumbar_body_are_no_candidates(self) -> None:
        files = evidence({"contrast": "present"}, {}, placed=boxes((0, "L1")))
        assert list(verdict(files).criterion) == ["contrast_enhanced", "not_lumbar"]
        assert self.criterion(files) == ["contrast_enhanced"]

    def test_a_patient_of_whom_only_neighbours_are_annotated_has_too_few_levels(self) -> None:
        files = evidence({"contrast": "present"}, {}, placed=boxes((1, "T12")))
        assert list(verdict(files).criterion) == ["contrast_enhanced", "not_lumbar"]
        assert self.criterion(files) == ["incomplete_levels"]

    def test_of_a_patient_without_a_candidate_all_files_are(self) -> None:
        off = {"incomplete_levels": {"enabled": False}}
        files = evidence({"contrast": "present"}, {}, placed=boxes((1, "T12")))
        found = verdict(files, Exclude.model_validate({"criteria": off}))
        assert list(exclusions_table(files, found)["criterion"]) == ["not_lumbar"]

    def test_one_study_out_of_time_is_no_whole_patient_failure(self) -> None:
        files = evidence({"ct_date": "2012-01-01"}, {"kernel": "SOFT"})
        assert self.criterion(files) == ["dxa_too_far"]
        files = evidence({"ct_date": "2012-01-01"}, {})
        assert self.criterion(files) == [""]

    def test_too_few_levels_on_what_was_left(self) -> None:
        files = evidence({}, {"contrast": "present"})
        strict = Exclude.model_validate({"criteria": {"incomplete_levels": {"min_levels": 2}}})
        patients = exclusions_table(files, verdict(files, strict))
        assert list(patients["criterion"]) == ["incomplete_levels"]

    def test_files_without_a_patient_belong_to_nobody(self) -> None:
        files = evidence(UNREADABLE, {}, placed=boxes((1, "L1")))
        patients = exclusions_table(files, verdict(files))
        assert list(patients["n_files"]) == [1]


def test_flags_of_included_files_show_their_evidence() -> None:
    files = evidence(
        {"kernel": "XY", "dense_area_mm2": 90.0}, {"kernel": "XY", "contrast": "present"}
    )
    ledger = ledger_table(files, verdict(files), Exclude())
    assert list(ledger["all_criteria"]) == [
        "not_bone_kernel?;cement?",
        "contrast_enhanced;not_bone_kernel?",
    ]
    assert list(ledger["evidence"]) == [
        "not_bone_kernel: unlisted kernel XY of ge; cement: dense piece of 90 mm2",
        "contrast agent in the header",
    ]
    assert list(ledger["decided_by"]) == ["rule", "rule"]


def test_flow_names_the_cohort_and_counts_what_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "cohort.json").write_text('{"name": "made", "synthetic": true}')
    files = evidence({"kernel": "XY"}, {}, {"patient": 2, "contrast": "present"})
    found = verdict(files)
    told = flow(files, found, exclusions_table(files, found), Exclude(), CohortFolder(tmp_path))
    assert told["cohort"] == {"name": "made", "synthetic": True}
    steps = {step["slug"]: step for step in told["steps"]}
    assert [step["code"] for step in told["steps"]] == ["R01", *[rule.code for rule in CRITERIA]]
    assert steps["tumour"]["not_evaluated"] == {"files": 2, "images": 2, "patients": 1}
    assert steps["not_bone_kernel"]["flagged"]["files"] == 1
    assert steps["contrast_enhanced"]["patients_excluded"] == 1
    assert told["included_flagged"]["files"] == 1
    assert told["included_not_evaluated"]["files"] == 2


def test_an_empty_index_is_legal() -> None:
    index, identities = cohort({})
    files = gather(index[:0], identities[:0], boxes(), everybody(identities), {}, reading="patient")
    found = verdict(files)
    assert np.asarray(found.included).size == 0
    assert exclusions_table(files, found).empty
