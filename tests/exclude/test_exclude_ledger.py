"""Ledger, patients and flow of cohorts made at random, and of chosen ones."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.made_index import (
    PRIVATE,
    UNREADABLE,
    boxes,
    cohort,
    decisions,
    dxa,
    evidence,
    exam,
    key,
    of_ct,
    outcome,
    patients,
    source_of,
)

from dsnet import schemas
from dsnet.cohort.exams import exams_table
from dsnet.config.cohort import Criteria, Exclude
from dsnet.exclude.criteria import CRITERIA
from dsnet.exclude.criterion import gather
from dsnet.exclude.step import Outcome, apply_criteria, exclusions_table, flow_counts, ledger_table

pytestmark = pytest.mark.slow

# Shrinking a table of fifty columns takes minutes and shows little.
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
YES_NO = st.sampled_from(["yes", "no", ""])
SOURCE = source_of(phantom_seed=1)
HISTORY = st.fixed_dictionaries(
    dict.fromkeys(("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia"), YES_NO)
)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[pd.DataFrame, Exclude]:
    people = st.integers(1, 4).map(lambda patient: {"patient": patient})
    rows = draw(
        st.lists(st.tuples(people, st.sampled_from(FAULTS)), min_size=1, max_size=15).map(
            lambda pairs: [{**patient, **fault} for patient, fault in pairs]
        )
    )
    index, identities = cohort(*rows)
    levels = draw(
        st.lists(st.sampled_from(["L1", "L3", "T12", ""]), min_size=len(rows), max_size=len(rows))
    )
    scanned = sorted(set(identities["patient_id"]) - {""})
    examined = [patient for patient in scanned if draw(st.booleans())]
    measured = dxa(*[exam(patient) for patient in examined or scanned])
    files = gather(
        index,
        boxes(*[(number, level) for number, level in enumerate(levels) if level]),
        exams_table(of_ct(index, identities), measured, PRIVATE),
        patients(draw(st.dictionaries(st.sampled_from(["1", "2"]), HISTORY))),
        t_score="patient",
    )
    off = draw(
        st.sets(st.sampled_from(sorted({*Criteria.model_fields} - {"withdrawn"})), max_size=3)
    )
    return files, Exclude.model_validate({"criteria": {slug: {"enabled": False} for slug in off}})


@given(cohorts())
@PROPERTY
def test_every_count_reconciles_with_the_index_to_the_last_file(
    made: tuple[pd.DataFrame, Exclude],
) -> None:
    files, params = made
    result = outcome(files, params)
    ledger = ledger_table(files, result, params)
    by_patient = exclusions_table(files, result)
    flow = flow_counts(files, result, by_patient, params, SOURCE)
    schemas.LEDGER.validate(ledger)
    schemas.EXCLUSIONS.validate(by_patient)

    assert list(ledger["file_key"]) == list(files["file_key"])
    assert ((ledger["status"] == "included") == (ledger["criterion"] == "")).all()
    included = ledger[ledger["status"] == "included"]

    removed = pd.DataFrame([step["removed"] for step in flow["steps"]]).sum()
    for kind in ("files", "images", "patients"):
        assert flow["found"][kind] - removed[kind] == flow["included"][kind]
    assert flow["found"]["files"] == len(files)
    assert flow["included"] == {
        "files": len(included),
        "images": len(set(included["image_key"]) - {""}),
        "patients": len(set(included["patient_key"]) - {""}),
    }
    left = flow["found"]["files"]
    for step in flow["steps"]:
        assert step["removed"]["files"] == (ledger["criterion"] == step["slug"]).sum()
        left -= step["removed"]["files"]
        assert step["remain"]["files"] == left
    assert flow["files_without_patient"] == (ledger["patient_key"] == "").sum()

    assert by_patient["n_files"].sum() + flow["files_without_patient"] == len(files)
    assert by_patient["n_included"].sum() == (included["patient_key"] != "").sum()
    assert ((by_patient["status"] == "included") == (by_patient["criterion"] == "")).all()
    excluded = (by_patient["status"] == "excluded").sum()
    assert sum(step["patients_excluded"] for step in flow["steps"]) == excluded


@given(cohorts())
@PROPERTY
def test_the_first_of_all_criteria_counts(made: tuple[pd.DataFrame, Exclude]) -> None:
    files, params = made
    ledger = ledger_table(files, outcome(files, params), params)
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
def test_no_decision_depends_on_the_order_of_rows_or_on_the_secret_key(
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
    before = outcome(files, params).criterion
    after = outcome(other, params).criterion
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
    result = outcome(files)
    by_patient = exclusions_table(files, result)
    flow = flow_counts(files, result, by_patient, Exclude(), SOURCE)
    text = ledger_table(files, result, Exclude()).to_csv() + by_patient.to_csv() + str(flow)
    for secret in ("SECRET", "66.77", "1999", "2020"):
        assert secret not in text


class TestPatient:
    def criterion(self, files: pd.DataFrame) -> list[str]:
        return list(exclusions_table(files, outcome(files))["criterion"])

    def test_the_first_whole_patient_failure_counts(self) -> None:
        files = evidence(
            {"contrast": "present", "metal_area_mm2": 50.0},
            {"contrast": "present"},
            exams=dxa(exam("001", L1="-1")),
        )
        assert list(outcome(files).criterion) == ["contrast_enhanced"] * 2
        assert self.criterion(files) == ["metal_artefact"]

    def test_else_the_one_that_removed_the_last_candidate(self) -> None:
        files = evidence({"contrast": "present"}, {"kernel": "SOFT"}, {"image_kind": "localizer"})
        assert self.criterion(files) == ["not_bone_kernel"]

    def test_slices_without_a_lumbar_body_are_no_candidates(self) -> None:
        files = evidence({"contrast": "present"}, {}, annotated=boxes((0, "L1")))
        assert list(outcome(files).criterion) == ["contrast_enhanced", "not_lumbar"]
        assert self.criterion(files) == ["contrast_enhanced"]

    def test_a_patient_of_whom_only_neighbours_are_annotated_has_too_few_levels(self) -> None:
        files = evidence({"contrast": "present"}, {}, annotated=boxes((1, "T12")))
        assert list(outcome(files).criterion) == ["contrast_enhanced", "not_lumbar"]
        assert self.criterion(files) == ["incomplete_levels"]

    def test_of_a_patient_without_a_candidate_all_files_are(self) -> None:
        off = {"incomplete_levels": {"enabled": False}}
        files = evidence({"contrast": "present"}, {}, annotated=boxes((1, "T12")))
        result = outcome(files, Exclude.model_validate({"criteria": off}))
        assert list(exclusions_table(files, result)["criterion"]) == ["not_lumbar"]

    def test_one_study_out_of_time_is_no_whole_patient_failure(self) -> None:
        early = {"ct_date": "2012-01-01", "study": 7}
        assert self.criterion(evidence(early, {"kernel": "SOFT"})) == ["dxa_too_far"]
        assert self.criterion(evidence(early, {})) == [""]

    def test_too_few_levels_on_what_was_left(self) -> None:
        files = evidence({}, {"contrast": "present"})
        strict = Exclude.model_validate({"criteria": {"incomplete_levels": {"min_levels": 2}}})
        by_patient = exclusions_table(files, outcome(files, strict))
        assert list(by_patient["criterion"]) == ["incomplete_levels"]
        (reason,) = by_patient["reason"]
        assert reason == "Too few of the levels L1 to L4 are annotated or left."

    def test_files_without_a_patient_belong_to_no_patient(self) -> None:
        files = evidence(UNREADABLE, {}, annotated=boxes((1, "L1")))
        by_patient = exclusions_table(files, outcome(files))
        assert list(by_patient["n_files"]) == [1]


def test_flags_of_included_files_show_their_evidence() -> None:
    files = evidence(
        {"kernel": "XY", "dense_area_mm2": 90.0}, {"kernel": "XY", "contrast": "present"}
    )
    ledger = ledger_table(files, outcome(files), Exclude())
    assert list(ledger["all_criteria"]) == [
        "not_bone_kernel?;cement?",
        "contrast_enhanced;not_bone_kernel?",
    ]
    assert list(ledger["evidence"]) == [
        "not_bone_kernel: unlisted kernel XY of ge; cement: dense piece of 90 mm2",
        "contrast agent in the header",
    ]
    assert list(ledger["decided_by"]) == ["rule", "rule"]


def test_flow_names_the_cohort_and_counts_what_is_unknown() -> None:
    files = evidence({"kernel": "XY"}, {}, {"patient": 2, "contrast": "present"}, UNREADABLE)
    result = outcome(files)
    flow = flow_counts(files, result, exclusions_table(files, result), Exclude(), SOURCE)
    assert flow["cohort"] == {"name": "made", "synthetic": True}
    assert flow["files_without_patient"] == 1
    steps = {step["slug"]: step for step in flow["steps"]}
    assert [step["code"] for step in flow["steps"]] == ["R01", *[rule.code for rule in CRITERIA]]
    assert [step["stage"] for step in flow["steps"]] == [
        "review",
        *[rule.stage for rule in CRITERIA],
    ]
    assert steps["tumour"]["not_evaluated"] == {"files": 2, "images": 2, "patients": 1}
    assert steps["not_bone_kernel"]["flagged"]["files"] == 1
    assert steps["contrast_enhanced"]["patients_excluded"] == 1
    assert steps["contrast_enhanced"]["failed"] == {"files": 1, "images": 1, "patients": 1}
    assert flow["included_flagged"] == {"files": 1, "images": 1, "patients": 1}
    assert flow["included_not_evaluated"]["files"] == 2


def test_flow_counts_what_fails_apart_from_what_is_removed() -> None:
    files = evidence({"contrast": "present", "kernel": "SOFT"}, {"kernel": "XY", "patient": 2})
    result = apply_criteria(files, Exclude(), decisions(("patient", key("P", 2), "exclude", 3)))
    flow = flow_counts(files, result, exclusions_table(files, result), Exclude(), SOURCE)
    steps = {step["slug"]: step for step in flow["steps"]}
    assert steps["review"]["failed"]["files"] == steps["review"]["removed"]["files"] == 1
    assert steps["not_bone_kernel"]["failed"]["files"] == 1
    assert steps["not_bone_kernel"]["removed"]["files"] == 0
    # A file that is excluded waits for no review.
    assert steps["not_bone_kernel"]["flagged"]["files"] == 0
    assert steps["tumour"]["not_evaluated"]["files"] == 0


def test_copies_of_an_image_are_several_files_and_one_image() -> None:
    files = evidence({"uid": "1.7"}, {"uid": "1.7"}, {})
    result = outcome(files)
    flow = flow_counts(files, result, exclusions_table(files, result), Exclude(), SOURCE)
    assert flow["found"] == {"files": 3, "images": 2, "patients": 1}
    duplicate = next(step for step in flow["steps"] if step["slug"] == "duplicate")
    assert duplicate["removed"] == {"files": 1, "images": 0, "patients": 0}


def test_empty_tables_are_legal() -> None:
    index, identities = cohort({})
    nothing = exams_table(of_ct(index, identities), dxa(), PRIVATE)
    files = gather(index[:0], boxes(), nothing, patients({}), t_score="patient")
    result = outcome(files)
    assert np.asarray(result.included).size == 0
    assert exclusions_table(files, result).empty
    assert ledger_table(files, result, Exclude()).empty
    alone = gather(index, boxes(), nothing, patients({}), t_score="vertebra")
    assert list(outcome(alone).criterion) == ["no_annotation"]
    assert alone["interval_days"].isna().all()
    assert list(alone["unscored"]) == [""]


ROWS: list[dict[str, Any]] = [{}, {"contrast": "present"}, {"patient": 2, "series": 5}]


class TestReader:
    def result(self, files: pd.DataFrame, *rows: tuple[str, str, str, int]) -> Outcome:
        return apply_criteria(files, Exclude(), decisions(*rows))

    @pytest.mark.parametrize("scope", ["patient", "series", "file"])
    def test_a_reader_excludes(self, scope: str) -> None:
        files = evidence(*ROWS)
        name = {"patient": key("P", 2), "series": key("S", 5), "file": key("F", 2)}[scope]
        result = self.result(files, (scope, name, "exclude", 7))
        assert list(result.criterion) == ["", "contrast_enhanced", "review"]
        row = ledger_table(files, result, Exclude()).iloc[2]
        by = "review row 7 (AB, 2020-03-01)"
        assert (row.code, row.decided_by, row.all_criteria) == ("R01", by, "review")
        assert (row.reason, row.threshold, row.evidence) == ("A reader excluded it.", "", "")
        assert list(exclusions_table(files, result)["criterion"]) == ["", "review"]

    def test_a_reader_stands_above_the_rules(self) -> None:
        files = evidence(*ROWS)
        result = self.result(files, ("patient", key("P", 1), "exclude", 2))
        assert list(result.criterion) == ["review", "review", ""]
        ledger = ledger_table(files, result, Exclude())
        assert ledger["all_criteria"][1] == "review;contrast_enhanced"

    def test_a_reader_keeps_what_rules_exclude(self) -> None:
        files = evidence(*ROWS)
        result = self.result(files, ("patient", key("P", 1), "keep", 2))
        assert result.included.all()
        ledger = ledger_table(files, result, Exclude())
        assert list(ledger["decided_by"]) == ["rule", "review row 2 (AB, 2020-03-01)", "rule"]
        assert list(ledger["all_criteria"]) == ["", "contrast_enhanced", ""]
        # What a reader lifted is still a finding of its criterion.
        flow = flow_counts(files, result, exclusions_table(files, result), Exclude(), SOURCE)
        steps = {step["slug"]: step for step in flow["steps"]}
        assert steps["contrast_enhanced"]["failed"]["files"] == 1
        assert steps["contrast_enhanced"]["removed"]["files"] == 0

    def test_a_reader_cannot_keep_what_has_no_image_or_no_label(self) -> None:
        files = evidence(
            {"decoded": False, "fault": "cut_pixels"},
            {},
            {"uid": "1.2.1"},
            UNREADABLE,
            annotated=boxes((1, "L1"), (2, "L1")),
        )
        keeps = [("file", key("F", number), "keep", 2 + number) for number in range(4)]
        result = self.result(files, *keeps)
        assert list(result.criterion) == ["undecodable_pixels", "", "duplicate", "unreadable"]
        assert set(ledger_table(files, result, Exclude())["decided_by"]) == {"rule"}

    def test_a_narrower_decision_overrides_a_wider_one(self) -> None:
        files = evidence(*ROWS)
        result = self.result(
            files,
            ("patient", key("P", 1), "keep", 3),
            ("patient", key("P", 2), "keep", 5),
            ("series", key("S", 5), "exclude", 4),
            ("file", key("F", 0), "exclude", 2),
        )
        assert list(result.criterion) == ["review", "", "review"]
        assert [text.split()[2] for text in result.reviewed_by] == ["2", "3", "4"]

    def test_a_decision_on_another_cohorts_file_changes_nothing(self) -> None:
        result = self.result(evidence({}, UNREADABLE), ("file", key("F", 9), "exclude", 2))
        assert list(result.criterion) == ["", "unreadable"]
        assert list(result.reviewed_by) == ["", ""]
