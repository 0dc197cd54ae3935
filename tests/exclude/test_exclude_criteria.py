from typing import Any

import pandas as pd
import pytest
from support.made_index import UNREADABLE, boxes, dxa, evidence, exam, key, outcome

from dsnet.config.cohort import Criteria, Exclude
from dsnet.exclude.criteria import CRITERIA, criteria_table
from dsnet.exclude.criterion import REVIEW, STAGES
from dsnet.exclude.step import Outcome


def params(**criteria: dict[str, Any]) -> Exclude:
    return Exclude.model_validate({"criteria": criteria})


def failing(result: Outcome, at: int = 0) -> list[str]:
    return [slug for slug, one in result.findings.items() if one.fails[at]]


def why(result: Outcome, slug: str, at: int = 0) -> str:
    return str(result.findings[slug].evidence[at])


CODES = {
    "review": "R01",
    "withdrawn": "E23",
    "unreadable": "E01",
    "undecodable_pixels": "E02",
    "duplicate": "E03",
    "not_ct": "E04",
    "not_original_axial": "E05",
    "bad_geometry": "E06",
    "no_hu_scale": "E07",
    "contrast_enhanced": "E08",
    "not_bone_kernel": "E09",
    "not_120_kvp": "E26",
    "metal_artefact": "E10",
    "cement": "E11",
    "no_annotation": "E12",
    "not_lumbar": "E13",
    "no_dxa": "E14",
    "no_t_score": "E15",
    "dxa_too_far": "E16",
    "dxa_date_unknown": "E17",
    "fracture_history": "E18",
    "spine_surgery": "E19",
    "tumour": "E20",
    "bone_hyperplasia": "E21",
    "incomplete_levels": "E22",
    "uid_conflict": "E24",
    "multi_frame": "E25",
}
"""Codes that were ever given; a ledger of years ago must mean the same."""


def test_criteria_and_config_have_the_same_slugs_in_one_order() -> None:
    assert [rule.slug for rule in CRITERIA] == list(Criteria.model_fields)


def test_a_code_stays_with_its_criterion() -> None:
    for rule in (REVIEW, *CRITERIA):
        assert CODES.get(rule.slug, rule.code) == rule.code
        assert rule.slug in CODES or rule.code not in CODES.values()
    codes = [rule.code for rule in CRITERIA]
    assert len(set(codes)) == len(codes)


def test_texts_are_fit_to_print() -> None:
    for rule in CRITERIA:
        assert rule.evaluate.__doc__
        assert rule.reason.endswith(".")
        assert rule.remedy
        assert rule.source


def test_the_stages_follow_one_another_in_the_order_of_the_criteria() -> None:
    stages = [rule.stage for rule in (REVIEW, *CRITERIA)]
    assert list(dict.fromkeys(stages)) == list(STAGES)
    assert stages == sorted(stages, key=list(STAGES).index)


def test_scopes_are_those_of_the_ledger() -> None:
    of_patient = {rule.slug for rule in CRITERIA if rule.scope == "patient"}
    histories = {"fracture_history", "spine_surgery", "tumour", "bone_hyperplasia"}
    exams = {"no_dxa", "no_t_score", "dxa_too_far", "dxa_date_unknown"}
    assert of_patient == histories | exams | {
        "withdrawn",
        "metal_artefact",
        "no_annotation",
        "incomplete_levels",
    }


def test_what_has_no_image_or_no_label_is_final() -> None:
    assert {rule.slug for rule in CRITERIA if rule.final} == {
        "withdrawn",
        "unreadable",
        "undecodable_pixels",
        "uid_conflict",
        "duplicate",
        "not_ct",
        "multi_frame",
        "bad_geometry",
        "no_hu_scale",
        "no_annotation",
        "not_lumbar",
        "no_dxa",
        "no_t_score",
    }


def test_the_table_lists_thresholds_and_what_is_switched_off() -> None:
    listed = {one.slug: one for one in criteria_table(params(cement={"enabled": False}))}
    assert [slug for slug, one in listed.items() if not one.enabled] == ["not_120_kvp", "cement"]
    assert {slug: one.threshold for slug, one in listed.items() if one.threshold} == {
        "not_original_axial": "tilt <= 5 degrees",
        "bad_geometry": "uneven gaps <= 0.2 (review)",
        "not_bone_kernel": "a bone kernel (unlisted: review)",
        "not_120_kvp": "tube voltage = 120 kV; unknown: keep",
        "metal_artefact": "metal < 10 mm2 (scope patient)",
        "cement": "dense piece < 30 mm2 (review)",
        "dxa_too_far": "interval <= 180 days",
        "fracture_history": "unknown histories: keep",
        "spine_surgery": "unknown histories: keep",
        "tumour": "unknown histories: keep",
        "bone_hyperplasia": "unknown histories: keep",
        "incomplete_levels": "levels >= 1",
    }
    assert listed["no_dxa"].stage == "dxa"


def test_a_good_slice_fails_nothing() -> None:
    result = outcome(evidence({}))
    assert failing(result) == []
    assert not result.flagged.any()
    assert result.included.all()


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
    ("no_hu_scale", {"hu_scale": False, "rescale_type": "US"}, "rescale type US"),
    (
        "no_hu_scale",
        {"hu_scale": False, "rescale_type": "?"},
        "rescale type that is no term of the standard",
    ),
    ("no_hu_scale", {"bits_stored": 8}, "8 bits a pixel"),
    ("no_hu_scale", {"hu_min": -1024, "hu_max": -501}, "no value above -501 HU"),
    ("no_hu_scale", {"hu_max": 62512, "metal_area_mm2": 9e4}, "values up to 62512 HU"),
    ("no_hu_scale", {"hu_min": 0, "hu_max": 255}, "values from 0 to 255, as of 8 bits"),
    ("no_hu_scale", {"hu_min": None, "hu_max": None}, "no grey value that is not padding"),
    (
        "multi_frame",
        {"sop_class": "Enhanced CT Image Storage", "frames": 4, "geometry_fault": "no_orientation"},
        "4 frames in one file: convert it to single frames, as with dcm4che's emf2sf",
    ),
    (
        "multi_frame",
        {"sop_class": "Legacy Converted Enhanced CT Image Storage", "hu_scale": False},
        "no number of frames in one file: convert it to single frames, as with dcm4che's emf2sf",
    ),
    (
        "multi_frame",
        {"frames": 2, "hu_min": None, "hu_max": None},
        "2 frames in one file: convert it to single frames, as with dcm4che's emf2sf",
    ),
    ("contrast_enhanced", {"contrast": "present"}, "contrast agent in the header"),
    ("not_bone_kernel", {"kernel": "STANDARD"}, "kernel STANDARD of ge"),
    ("metal_artefact", {"metal_area_mm2": 10.0}, f"metal 10 mm2 on {key('F', 0)}"),
]


@pytest.mark.parametrize(("slug", "fault", "text"), SPOILED)
def test_each_fault_has_its_criterion_and_evidence(
    slug: str, fault: dict[str, Any], text: str
) -> None:
    result = outcome(evidence(fault, {"patient": 2}))
    assert failing(result) == [slug]
    assert why(result, slug) == text
    assert list(result.criterion) == [slug, ""]


@pytest.mark.parametrize(("slug", "fault", "text"), SPOILED)
def test_a_criterion_that_is_off_excludes_nothing(
    slug: str, fault: dict[str, Any], text: str
) -> None:
    result = outcome(evidence(fault), params(**{slug: {"enabled": False}}))
    assert result.included.all(), text


def test_of_a_file_without_a_header_only_that_is_why() -> None:
    result = outcome(evidence(UNREADABLE, annotated=boxes()))
    assert failing(result) == ["unreadable"]
    assert why(result, "unreadable") == "not_dicom"


def test_a_withdrawn_file_has_no_other_reason() -> None:
    files = evidence(
        {**UNREADABLE, "fault": "withdrawn"}, UNREADABLE, {}, annotated=boxes((2, "L1"))
    )
    result = outcome(files)
    assert failing(result) == ["withdrawn"]
    assert why(result, "withdrawn") == "recorded by dsnet withdraw"
    assert list(result.criterion) == ["withdrawn", "unreadable", ""]


@pytest.mark.parametrize(
    ("slug", "oddity", "text"),
    [
        ("not_original_axial", {"image_kind": "unknown"}, "image type not given"),
        (
            "not_original_axial",
            {"orientation": "RA", "rotation_deg": 12.4},
            "turned by 12 degrees in its plane",
        ),
        (
            "contrast_enhanced",
            {"contrast": "described"},
            "contrast in the series or protocol description",
        ),
        ("bad_geometry", {"irregular_fraction": 0.21}, "0.21 of the series' gaps uneven"),
        ("not_bone_kernel", {"kernel": "XY"}, "unlisted kernel XY of ge"),
        ("not_bone_kernel", {"kernel": ""}, "unlisted kernel not given of ge"),
        ("not_bone_kernel", {"vendor": "other"}, "unlisted kernel BONE of other"),
        ("cement", {"dense_area_mm2": 30.0}, "dense piece of 30 mm2"),
    ],
)
def test_doubts_are_flagged_and_kept(slug: str, oddity: dict[str, Any], text: str) -> None:
    result = outcome(evidence(oddity))
    assert result.included.all()
    assert [name for name, one in result.findings.items() if one.flags[0]] == [slug]
    assert why(result, slug) == text


def test_doubts_exclude_where_the_config_says_so() -> None:
    strict = params(
        not_bone_kernel={"unknown_kernel": "exclude"},
        bad_geometry={"irregular_spacing": "exclude"},
    )
    files = evidence({"kernel": "XY"}, {"patient": 2, "irregular_fraction": 0.5})
    assert list(outcome(files, strict).criterion) == ["not_bone_kernel", "bad_geometry"]
    lax = params(
        not_bone_kernel={"unknown_kernel": "keep"}, bad_geometry={"irregular_spacing": "ignore"}
    )
    assert not outcome(files, lax).flagged.any()


def test_thresholds_are_inclusive_as_they_are_printed() -> None:
    files = evidence(
        {"tilt_deg": 5.0, "rotation_deg": 5.0, "irregular_fraction": 0.2},
        {"metal_area_mm2": 9.99},
        {"hu_min": -500, "hu_max": -500},
        {"hu_max": 32767},
        {"hu_min": -1, "hu_max": 255},
        {"hu_min": 0, "hu_max": 256},
        {"bits_stored": 9},
        {"frames": 1},
    )
    result = outcome(files)
    assert result.included.all()
    assert not result.findings["bad_geometry"].flags.any()
    assert not outcome(evidence({"dense_area_mm2": 29.99})).flagged.any()


def test_a_kernel_is_asked_of_ct_alone() -> None:
    result = outcome(evidence({"modality": "MR", "kernel": "STANDARD"}, {"kernel": "STANDARD"}))
    assert result.findings["not_bone_kernel"].fails.tolist() == [False, True]


@pytest.mark.parametrize("sop_class", ["", "private"])
def test_an_unknown_sop_class_leaves_the_word_to_the_modality(sop_class: str) -> None:
    assert outcome(evidence({"sop_class": sop_class})).included.all()


class TestDuplicate:
    def slugs(self, files: pd.DataFrame) -> list[str]:
        return list(outcome(files).criterion)

    def test_one_uid_is_kept_once(self) -> None:
        files = evidence({"uid": "1.7", "path": "b"}, {"uid": "1.7", "path": "a"}, {})
        result = outcome(files)
        assert list(result.criterion) == ["duplicate", "", ""]
        assert why(result, "duplicate") == f"same SOP Instance UID as {key('F', 1)}"

    @pytest.mark.parametrize(
        ("other", "sentence"),
        [
            ({"pixel_hash": "e" * 32}, "differ in pixels or position"),
            ({"position_mm": 9.0}, "differ in pixels or position"),
            ({"patient": 2}, "differ in patient"),
        ],
    )
    def test_one_uid_of_different_images_excludes_them_all(
        self, other: dict[str, Any], sentence: str
    ) -> None:
        files = evidence({"uid": "1.7"}, {"uid": "1.7"}, {"uid": "1.7", **other}, {})
        result = outcome(files)
        assert list(result.criterion) == ["uid_conflict"] * 3 + [""]
        assert why(result, "uid_conflict", 2) == f"3 files with this SOP Instance UID {sentence}"

    def test_a_cut_copy_is_no_conflict(self) -> None:
        cut = {"uid": "1.7", "decoded": False, "fault": "cut_pixels"}
        assert self.slugs(evidence({"uid": "1.7"}, cut)) == ["", "undecodable_pixels"]

    def test_two_reconstructions_at_one_position_are_kept_and_flagged(self) -> None:
        two = {"position_mm": 3.0, "images_at_position": 2}
        copy = {**two, "uid": "1.2.0"}
        result = outcome(
            evidence(two, two, copy, {**two, "image_kind": "derived"}, {"position_mm": 6.0})
        )
        assert list(result.criterion) == ["", "", "duplicate", "not_original_axial", ""]
        assert result.flagged.tolist() == [True, True, False, False, False]
        expected = "2 different images at this position of the series"
        assert why(result, "duplicate", 1) == expected

    def test_files_without_a_uid_are_copies_of_none(self) -> None:
        same = {"uid_known": False, "pixel_hash": "h", "position_mm": 1.0}
        assert self.slugs(evidence(same, same)) == ["", ""]

    def test_equal_pixels_at_one_position_of_one_patient_are_copies(self) -> None:
        same = {"pixel_hash": "h", "position_mm": 1.0}
        files = evidence(same, same, {**same, "position_mm": 4.0}, {**same, "patient": 2})
        result = outcome(files)
        assert list(result.criterion) == ["", "duplicate", "", ""]
        assert why(result, "duplicate", 1) == f"same pixels and position as {key('F', 0)}"

    @pytest.mark.parametrize(
        ("position_mm", "criterion"), [(-87.4999, "duplicate"), (-87.51, ""), (-87.49, "")]
    )
    def test_positions_are_the_same_to_a_hundredth_of_a_millimetre(
        self, position_mm: float, criterion: str
    ) -> None:
        # The same slice, exported twice: once with a position rounded by the PACS.
        same = {"pixel_hash": f"{7:032x}"}
        files = evidence({**same, "position_mm": -87.5}, {**same, "position_mm": position_mm})
        assert self.slugs(files) == ["", criterion]

    def test_equal_pixels_without_a_position_are_no_copies(self) -> None:
        same = {"pixel_hash": "h", "position_mm": None}
        assert self.slugs(evidence(same, same)) == ["", ""]

    def test_an_undecodable_file_makes_no_other_a_copy(self) -> None:
        cut = {"uid": "1.7", "decoded": False, "fault": "cut_pixels", "path": "a"}
        files = evidence(cut, {"uid": "1.7", "path": "b"})
        assert self.slugs(files) == ["undecodable_pixels", ""]

    def test_the_file_that_an_annotation_names_is_kept(self) -> None:
        annotated = boxes((0, "L1"), (1, "L1"), named=[1])
        files = evidence(
            {"uid": "1.7", "path": "a"}, {"uid": "1.7", "path": "b"}, annotated=annotated
        )
        assert self.slugs(files) == ["duplicate", ""]

    def test_a_chain_of_copies_keeps_one(self) -> None:
        pixels = {"pixel_hash": "h", "position_mm": 1.0}
        files = evidence({"uid": "1.7", **pixels}, {"uid": "1.7", **pixels}, pixels, pixels)
        assert self.slugs(files) == ["", "duplicate", "duplicate", "duplicate"]


class TestMetal:
    def test_one_slice_excludes_the_patient(self) -> None:
        files = evidence({"metal_area_mm2": 12.0}, {}, {"metal_area_mm2": 99.0}, {"patient": 2})
        result = outcome(files)
        assert list(result.criterion) == ["metal_artefact"] * 3 + [""]
        assert why(result, "metal_artefact", 1) == f"metal 99 mm2 on {key('F', 2)}"

    def test_or_the_slice_alone(self) -> None:
        files = evidence({"metal_area_mm2": 12.0}, {})
        result = outcome(files, params(metal_artefact={"scope": "image"}))
        assert list(result.criterion) == ["metal_artefact", ""]
        assert why(result, "metal_artefact") == "metal 12 mm2"

    @pytest.mark.parametrize(
        "fault",
        [
            {"image_kind": "localizer"},
            {"image_kind": "secondary"},
            {"modality": "MR"},
            {"hu_scale": False},
            {"decoded": False, "fault": "cut_pixels"},
        ],
    )
    @pytest.mark.parametrize("area_mm2", [99.0, 3.0])
    def test_numbers_that_are_no_hounsfield_units_do_not_count(
        self, fault: dict[str, Any], area_mm2: float
    ) -> None:
        files = evidence({"metal_area_mm2": area_mm2, **fault}, {})
        result = outcome(files)
        assert list(result.criterion)[1] == ""
        assert not result.findings["metal_artefact"].fails.any()
        assert not result.findings["metal_artefact"].flags.any()

    def test_metal_on_a_derived_image_counts(self) -> None:
        files = evidence({"metal_area_mm2": 99.0, "image_kind": "derived"}, {})
        assert list(outcome(files).criterion) == ["not_original_axial", "metal_artefact"]

    def test_a_small_component_is_flagged_on_its_slice(self) -> None:
        files = evidence({"metal_area_mm2": 9.96}, {}, {"metal_area_mm2": 0.0})
        result = outcome(files)
        assert result.included.all()
        assert list(result.findings["metal_artefact"].flags) == [True, False, False]
        assert why(result, "metal_artefact") == "metal of only 10.0 mm2"

    def test_of_equal_areas_the_last_by_path_is_named(self) -> None:
        files = evidence(
            {"metal_area_mm2": 50.0, "path": "b"},
            {"metal_area_mm2": 50.0, "path": "c"},
            {"metal_area_mm2": 50.0, "path": "a"},
        )
        assert why(outcome(files), "metal_artefact") == f"metal 50 mm2 on {key('F', 1)}"


class TestAnatomy:
    def test_no_box_on_any_image_of_the_patient(self) -> None:
        annotated = boxes((0, "T12"))
        result = outcome(evidence({}, {}, {"patient": 2}, annotated=annotated))
        assert list(result.criterion) == ["not_lumbar", "not_lumbar", "no_annotation"]
        assert why(result, "not_lumbar", 0) == "only other levels annotated"
        assert why(result, "not_lumbar", 1) == "no box on the slice"
        assert failing(result, 1) == ["not_lumbar", "incomplete_levels"]
        assert failing(result, 2) == ["no_annotation", "not_lumbar"]

    def test_levels_are_counted_on_what_is_left(self) -> None:
        annotated = boxes((0, "L1"), (1, "L2"), (1, "L3"), (2, "L4"), (3, "L1"))
        files = evidence({}, {}, {"contrast": "present"}, {"patient": 2}, annotated=annotated)
        strict = outcome(files, params(incomplete_levels={"min_levels": 4}))
        assert list(strict.criterion) == [
            "incomplete_levels",
            "incomplete_levels",
            "contrast_enhanced",
            "incomplete_levels",
        ]
        assert why(strict, "incomplete_levels") == "3 of L1 to L4 left"
        assert why(strict, "incomplete_levels", 3) == "1 of L1 to L4 annotated"
        lax = outcome(files, params(incomplete_levels={"min_levels": 3}))
        assert list(lax.criterion)[:2] == ["", ""]


class TestDensity:
    def test_a_patient_without_an_exam(self) -> None:
        files = evidence(
            {}, {"patient": 2}, {"patient": 3, "patient_id": ""}, exams=dxa(exam("001"))
        )
        result = outcome(files)
        assert list(result.criterion) == ["", "no_dxa", "no_dxa"]
        assert why(result, "no_dxa", 1) == "no exam of this patient"
        assert why(result, "no_dxa", 2) == "no patient ID in the header"

    def test_each_source_asks_for_its_own_t_score(self) -> None:
        partial = dxa(exam("001", L1="-1", L3="-2"))
        annotated = boxes((0, "L1"), (1, "L2"), (2, "L2"), (2, "L3"))
        rows: list[dict[str, Any]] = [{}, {}, {}]
        by_patient = outcome(evidence(*rows, annotated=annotated, exams=partial))
        assert list(by_patient.criterion) == ["no_t_score"] * 3
        assert why(by_patient, "no_t_score") == "no T-score for L1-L4"
        own = outcome(evidence(*rows, annotated=annotated, exams=partial, t_score="vertebra"))
        assert list(own.criterion) == ["", "no_t_score", "no_t_score"]
        assert why(own, "no_t_score", 2) == "no T-score for L2"
        lowest = outcome(evidence(*rows, annotated=annotated, exams=partial, t_score="lowest"))
        assert lowest.included.all()

    @pytest.mark.parametrize(("day", "fails"), [("2020-06-29", False), ("2020-06-30", True)])
    def test_the_interval_is_in_days_and_inclusive(self, day: str, fails: bool) -> None:
        for ct_date, exam_date in (("2020-01-01", day), (day, "2020-01-01")):
            files = evidence({"ct_date": ct_date}, exams=dxa(exam("001", exam_date)))
            result = outcome(files)
            assert failing(result) == (["dxa_too_far"] if fails else [])
            assert why(result, "dxa_too_far") == ("181 days" if fails else "")

    @pytest.mark.parametrize(
        ("ct_date", "exam_date", "text"),
        [
            ("", "2020-01-01", "no CT date"),
            ("2020-01-01", "", "no DXA date"),
            ("", "", "no CT date"),
        ],
    )
    def test_an_unknown_date_is_a_criterion_of_its_own(
        self, ct_date: str, exam_date: str, text: str
    ) -> None:
        result = outcome(evidence({"ct_date": ct_date}, exams=dxa(exam("001", exam_date))))
        assert failing(result) == ["dxa_date_unknown"]
        assert why(result, "dxa_date_unknown") == text


HISTORY = {"1": {"fracture_history": "yes", "tumour": "no", "bone_hyperplasia": "yes"}}


class TestHistory:
    def test_a_yes_excludes_and_the_unknown_is_counted(self) -> None:
        result = outcome(evidence({}, {"patient": 2}, histories=HISTORY))
        assert failing(result) == ["fracture_history", "bone_hyperplasia"]
        assert why(result, "fracture_history") == "fracture_history: yes"
        assert list(result.findings["spine_surgery"].unknown) == [True, True]
        assert list(result.findings["tumour"].unknown) == [False, True]
        assert list(result.criterion) == ["fracture_history", ""]

    def test_the_unknown_excludes_where_the_config_says_so(self) -> None:
        strict = Exclude(unknown_history="exclude")
        result = outcome(evidence({}, {"patient": 2}, histories=HISTORY), strict)
        assert failing(result) == ["fracture_history", "spine_surgery", "bone_hyperplasia"]
        assert list(result.criterion) == ["fracture_history", "fracture_history"]
        assert why(result, "fracture_history", 1) == "fracture_history: unknown"


def test_the_first_in_order_counts_and_all_are_recorded() -> None:
    result = outcome(evidence({"contrast": "present", "kernel": "SOFT", "tilt_deg": 9.0}))
    assert failing(result) == ["not_original_axial", "contrast_enhanced", "not_bone_kernel"]
    assert list(result.criterion) == ["not_original_axial"]


def test_tube_voltages_count_only_where_the_criterion_is_switched_on() -> None:
    files = evidence(
        {"tube_voltage_kv": 100.0},
        {"patient": 2, "tube_voltage_kv": None},
        {"patient": 3, "tube_voltage_kv": 120.4},
    )
    assert outcome(files).included.all()
    kept = outcome(files, params(not_120_kvp={"enabled": True}))
    assert list(kept.criterion) == ["not_120_kvp", "", ""]
    assert why(kept, "not_120_kvp") == "100 kV"
    strict = params(not_120_kvp={"enabled": True, "unknown_voltage": "exclude"})
    assert list(outcome(files, strict).criterion) == ["not_120_kvp", "not_120_kvp", ""]
