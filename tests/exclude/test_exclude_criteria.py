from typing import Any

import pandas as pd
import pytest
from support.made_index import UNREADABLE, boxes, dxa, evidence, exam, key, verdict

from dsnet.config.cohort import Criteria, Exclude
from dsnet.exclude.registry import CRITERIA, criteria_table
from dsnet.exclude.verdict import Verdict


def params(**criteria: dict[str, Any]) -> Exclude:
    return Exclude.model_validate({"criteria": criteria})


def failing(found: Verdict, at: int = 0) -> list[str]:
    return [slug for slug, one in found.findings.items() if one.fails[at]]


def said(found: Verdict, slug: str, at: int = 0) -> str:
    return str(found.findings[slug].evidence[at])


def test_registry_and_config_name_the_same_criteria_in_one_order() -> None:
    assert [rule.slug for rule in CRITERIA] == list(Criteria.model_fields)


def test_codes_and_texts_are_fit_to_print() -> None:
    assert [rule.code for rule in CRITERIA] == [f"E{n:02}" for n in range(1, len(CRITERIA) + 1)]
    for rule in CRITERIA:
        assert rule.find.__doc__
        assert rule.reason.endswith(".")
        assert rule.source


def test_the_table_tells_what_is_switched_off() -> None:
    told = {one.slug: one for one in criteria_table(params(cement={"enabled": False}))}
    assert not told["cement"].enabled
    assert told["dxa_too_far"].threshold == "interval <= 180 days"
    assert told["metal_artefact"].threshold == "metal < 10 mm2 (scope patient)"


def test_a_good_slice_fails_nothing() -> None:
    found = verdict(evidence({}))
    assert failing(found) == []
    assert not found.flagged.any()
    assert found.included.all()


SPOILED = [
    ("undecodable_pixels", {"decoded": False, "fault": "cut_pixels"}, "cut_pixels"),
    ("not_ct", {"modality": "MR"}, "modality MR"),
    ("not_ct", {"modality": ""}, "modality not given"),
    ("not_ct", {"sop_class": "MR Image Storage"}, "MR Image Storage"),
    ("not_original_axial", {"image_kind": "localizer"}, "localizer"),
    ("not_original_axial", {"image_kind": "derived"}, "derived"),
    ("not_original_axial", {"image_kind": "secondary"}, "secondary"),
    ("not_original_axial", {"tilt_deg": 18.54}, "tilt 18.5 degrees"),
    ("bad_geometry", {"geometry_fault": "no_position"}, "no_position"),
    ("no_hu_scale", {"hu_scale": False}, "no rescale slope and intercept"),
    ("contrast_enhanced", {"contrast": "present"}, "contrast agent in the header"),
    ("not_bone_kernel", {"kernel": "STANDARD"}, "kernel STANDARD of ge"),
    ("metal_artefact", {"metal_area_mm2": 10.0}, f"metal 10 mm2 on {key('F', 0)}"),
]


@pytest.mark.parametrize(("slug", "fault", "why"), SPOILED)
def test_each_fault_has_its_criterion_and_evidence(
    slug: str, fault: dict[str, Any], why: str
) -> None:
    found = verdict(evidence(fault, {"patient": 2}))
    assert failing(found) == [slug]
    assert said(found, slug) == why
    assert list(found.criterion) == [slug, ""]


@pytest.mark.parametrize(("slug", "fault", "why"), SPOILED)
def test_a_criterion_that_is_off_finds_nothing(slug: str, fault: dict[str, Any], why: str) -> None:
    found = verdict(evidence(fault), params(**{slug: {"enabled": False}}))
    assert found.included.all(), why


def test_of_a_file_without_a_header_only_that_is_said() -> None:
    found = verdict(evidence(UNREADABLE, placed=boxes()))
    assert failing(found) == ["unreadable"]
    assert said(found, "unreadable") == "not_dicom"


@pytest.mark.parametrize(
    ("slug", "oddity", "why"),
    [
        ("not_original_axial", {"image_kind": "unknown"}, "image type not given"),
        ("bad_geometry", {"irregular_fraction": 0.21}, "0.21 of the series' gaps uneven"),
        ("not_bone_kernel", {"kernel": "XY"}, "unlisted kernel XY of ge"),
        ("not_bone_kernel", {"kernel": ""}, "unlisted kernel not given of ge"),
        ("not_bone_kernel", {"vendor": "other"}, "unlisted kernel BONE of other"),
        ("cement", {"dense_area_mm2": 30.0}, "dense piece of 30 mm2"),
    ],
)
def test_doubts_are_flagged_and_kept(slug: str, oddity: dict[str, Any], why: str) -> None:
    found = verdict(evidence(oddity))
    assert found.included.all()
    assert [name for name, one in found.findings.items() if one.flags[0]] == [slug]
    assert said(found, slug) == why


def test_doubts_exclude_where_the_config_says_so() -> None:
    strict = params(
        not_bone_kernel={"unknown_kernel": "exclude"},
        bad_geometry={"irregular_spacing": "exclude"},
    )
    files = evidence({"kernel": "XY"}, {"patient": 2, "irregular_fraction": 0.5})
    assert list(verdict(files, strict).criterion) == ["not_bone_kernel", "bad_geometry"]
    lax = params(
        not_bone_kernel={"unknown_kernel": "keep"}, bad_geometry={"irregular_spacing": "ignore"}
    )
    assert not verdict(files, lax).flagged.any()


def test_thresholds_are_inclusive_as_they_are_printed() -> None:
    files = evidence({"tilt_deg": 5.0, "irregular_fraction": 0.2}, {"metal_area_mm2": 9.99})
    assert verdict(files).included.all()


@pytest.mark.parametrize("sop_class", ["", "private", "Enhanced CT Image Storage"])
def test_an_unknown_sop_class_leaves_the_word_to_the_modality(sop_class: str) -> None:
    assert verdict(evidence({"sop_class": sop_class})).included.all()


class TestDuplicate:
    def slugs(self, files: pd.DataFrame) -> list[str]:
        return list(verdict(files).criterion)

    def test_one_uid_is_kept_once(self) -> None:
        files = evidence({"uid": "1.7", "path": "b"}, {"uid": "1.7", "path": "a"}, {})
        found = verdict(files)
        assert list(found.criterion) == ["duplicate", "", ""]
        assert said(found, "duplicate") == f"same SOP Instance UID as {key('F', 1)}"

    def test_blank_uids_are_nobodys_copies(self) -> None:
        same = {"uid_known": False, "pixel_hash": "h", "position_mm": 1.0}
        assert self.slugs(evidence(same, same)) == ["", ""]

    def test_equal_pixels_at_one_position_of_one_patient_are_copies(self) -> None:
        same = {"pixel_hash": "h", "position_mm": 1.0}
        files = evidence(same, same, {**same, "position_mm": 4.0}, {**same, "patient": 2})
        found = verdict(files)
        assert list(found.criterion) == ["", "duplicate", "", ""]
        assert said(found, "duplicate", 1) == f"same pixels and position as {key('F', 0)}"

    def test_equal_pixels_without_a_position_are_no_copies(self) -> None:
        same = {"pixel_hash": "h", "position_mm": None}
        assert self.slugs(evidence(same, same)) == ["", ""]

    def test_an_undecodable_file_makes_no_other_a_copy(self) -> None:
        cut = {"uid": "1.7", "decoded": False, "fault": "cut_pixels", "path": "a"}
        files = evidence(cut, {"uid": "1.7", "path": "b"})
        assert self.slugs(files) == ["undecodable_pixels", ""]

    def test_the_file_that_an_annotation_names_is_kept(self) -> None:
        placed = boxes((0, "L1"), (1, "L1"), named=[1])
        files = evidence({"uid": "1.7", "path": "a"}, {"uid": "1.7", "path": "b"}, placed=placed)
        assert self.slugs(files) == ["duplicate", ""]

    def test_a_chain_of_copies_keeps_one(self) -> None:
        pixels = {"pixel_hash": "h", "position_mm": 1.0}
        files = evidence({"uid": "1.7", **pixels}, {"uid": "1.7", **pixels}, pixels, pixels)
        assert self.slugs(files) == ["", "duplicate", "duplicate", "duplicate"]


class TestMetal:
    def test_one_slice_excludes_the_patient(self) -> None:
        files = evidence({"metal_area_mm2": 12.0}, {}, {"metal_area_mm2": 99.0}, {"patient": 2})
        found = verdict(files)
        assert list(found.criterion) == ["metal_artefact"] * 3 + [""]
        assert said(found, "metal_artefact", 1) == f"metal 99 mm2 on {key('F', 2)}"

    def test_or_the_slice_alone(self) -> None:
        files = evidence({"metal_area_mm2": 12.0}, {})
        found = verdict(files, params(metal_artefact={"scope": "image"}))
        assert list(found.criterion) == ["metal_artefact", ""]
        assert said(found, "metal_artefact") == "metal 12 mm2"

    @pytest.mark.parametrize(
        "fault", [{"image_kind": "localizer"}, {"modality": "MR"}, {"hu_scale": False}]
    )
    def test_numbers_that_are_no_hounsfield_units_do_not_count(self, fault: dict[str, Any]) -> None:
        files = evidence({"metal_area_mm2": 99.0, **fault}, {})
        assert list(verdict(files).criterion)[1] == ""


class TestAnatomy:
    def test_no_box_on_any_image_of_the_patient(self) -> None:
        placed = boxes((0, "T12"))
        found = verdict(evidence({}, {}, {"patient": 2}, placed=placed))
        assert list(found.criterion) == ["not_lumbar", "not_lumbar", "no_annotation"]
        assert said(found, "not_lumbar", 0) == "only other levels annotated"
        assert said(found, "not_lumbar", 1) == "no box on the slice"
        assert failing(found, 1) == ["not_lumbar", "incomplete_levels"]
        assert failing(found, 2) == ["no_annotation", "not_lumbar"]

    def test_levels_are_counted_on_what_is_left(self) -> None:
        placed = boxes((0, "L1"), (1, "L2"), (1, "L3"), (2, "L4"), (3, "L1"))
        files = evidence({}, {}, {"contrast": "present"}, {"patient": 2}, placed=placed)
        strict = verdict(files, params(incomplete_levels={"min_levels": 4}))
        assert list(strict.criterion) == [
            "incomplete_levels",
            "incomplete_levels",
            "contrast_enhanced",
            "incomplete_levels",
        ]
        assert said(strict, "incomplete_levels") == "3 of L1 to L4 left"
        assert said(strict, "incomplete_levels", 3) == "1 of L1 to L4 annotated"
        lax = verdict(files, params(incomplete_levels={"min_levels": 3}))
        assert list(lax.criterion)[:2] == ["", ""]


class TestDensity:
    def test_a_patient_without_an_exam(self) -> None:
        files = evidence(
            {}, {"patient": 2}, {"patient": 3, "patient_id": ""}, exams=dxa(exam("001"))
        )
        found = verdict(files)
        assert list(found.criterion) == ["", "no_dxa", "no_dxa"]
        assert said(found, "no_dxa", 1) == "no exam of this patient"
        assert said(found, "no_dxa", 2) == "no patient ID in the header"

    def test_each_reading_asks_for_its_own_t_score(self) -> None:
        partial = dxa(exam("001", L1="-1", L3="-2"))
        placed = boxes((0, "L1"), (1, "L2"), (2, "L2"), (2, "L3"))
        rows: list[dict[str, Any]] = [{}, {}, {}]
        by_patient = verdict(evidence(*rows, placed=placed, exams=partial))
        assert list(by_patient.criterion) == ["no_t_score"] * 3
        assert said(by_patient, "no_t_score") == "no T-score for L1-L4"
        own = verdict(evidence(*rows, placed=placed, exams=partial, reading="vertebra"))
        assert list(own.criterion) == ["", "no_t_score", "no_t_score"]
        assert said(own, "no_t_score", 2) == "no T-score for L2"
        lowest = verdict(evidence(*rows, placed=placed, exams=partial, reading="lowest"))
        assert lowest.included.all()

    @pytest.mark.parametrize(("day", "fails"), [("2020-06-29", False), ("2020-06-30", True)])
    def test_the_interval_is_in_days_and_inclusive(self, day: str, fails: bool) -> None:
        for ct_date, exam_date in (("2020-01-01", day), (day, "2020-01-01")):
            files = evidence({"ct_date": ct_date}, exams=dxa(exam("001", exam_date)))
            found = verdict(files)
            assert failing(found) == (["dxa_too_far"] if fails else [])
            assert said(found, "dxa_too_far") == ("181 days" if fails else "")

    @pytest.mark.parametrize(
        ("ct_date", "exam_date", "why"),
        [
            ("", "2020-01-01", "no CT date"),
            ("2020-01-01", "", "no DXA date"),
            ("", "", "no CT date"),
        ],
    )
    def test_an_unknown_date_is_a_criterion_of_its_own(
        self, ct_date: str, exam_date: str, why: str
    ) -> None:
        found = verdict(evidence({"ct_date": ct_date}, exams=dxa(exam("001", exam_date))))
        assert failing(found) == ["dxa_date_unknown"]
        assert said(found, "dxa_date_unknown") == why


HISTORY = {
    "001": {
        "fracture_history": True,
        "spine_surgery": None,
        "tumour": False,
        "bone_hyperplasia": True,
    }
}


class TestHistory:
    def test_a_yes_excludes_and_the_unknown_is_counted(self) -> None:
        found = verdict(evidence({}, {"patient": 2}, histories=HISTORY))
        assert failing(found) == ["fracture_history", "bone_hyperplasia"]
        assert said(found, "fracture_history") == "fracture_history: yes"
        assert list(found.findings["spine_surgery"].unknown) == [True, True]
        assert list(found.findings["tumour"].unknown) == [False, True]
        assert list(found.criterion) == ["fracture_history", ""]

    def test_the_unknown_excludes_where_the_config_says_so(self) -> None:
        strict = Exclude(unknown_history="exclude")
        found = verdict(evidence({}, {"patient": 2}, histories=HISTORY), strict)
        assert failing(found) == ["fracture_history", "spine_surgery", "bone_hyperplasia"]
        assert list(found.criterion) == ["fracture_history", "fracture_history"]
        assert said(found, "fracture_history", 1) == "fracture_history: unknown"


def test_the_first_in_order_counts_and_all_are_recorded() -> None:
    found = verdict(evidence({"contrast": "present", "kernel": "SOFT", "tilt_deg": 9.0}))
    assert failing(found) == ["not_original_axial", "contrast_enhanced", "not_bone_kernel"]
    assert list(found.criterion) == ["not_original_axial"]
