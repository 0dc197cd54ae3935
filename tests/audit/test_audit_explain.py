"""Why was this patient excluded: one screen, by pseudonym and by hospital ID."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from support.made_results import Made, keys, tables_of, write_map, write_results

from dsnet import schemas
from dsnet.audit.explain import explain, remedy
from dsnet.audit.view import Answer, patient_view
from dsnet.exclude.criteria import CRITERIA

FAR, MIXED, KEPT = keys("P", range(3))

FILES = [
    (0, "not_lumbar", "no box on the slice", "not_lumbar;dxa_too_far"),
    (0, "dxa_too_far", "400 days", "dxa_too_far;cement?"),
    (0, "dxa_too_far", "400 days", "dxa_too_far"),
    (1, "contrast_enhanced", "contrast agent", "contrast_enhanced;not_lumbar"),
    (1, "not_bone_kernel", "kernel B30f", "not_bone_kernel;metal_artefact;tumour"),
    (2, "not_lumbar", "no box on the slice", "not_lumbar"),
    (2, "", "", ""),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    rows = [
        {
            "file_key": keys("F", [file])[0],
            "image_key": keys("I", [file])[0],
            "patient_key": keys("P", [patient])[0],
            "study_key": keys("E", [patient])[0],
            "series_key": keys("S", [patient])[0],
            "status": "excluded" if criterion else "included",
            "criterion": criterion,
            "code": "",
            "reason": "",
            "evidence": evidence,
            "threshold": "",
            "decided_by": "rule",
            "all_criteria": listed,
        }
        for file, (patient, criterion, evidence, listed) in enumerate(FILES)
    ]
    tables = tables_of(pd.DataFrame(rows))
    far = tables.exclusions["patient_key"] == FAR
    tables.exclusions.loc[far, ["criterion", "reason"]] = ["dxa_too_far", "Too far apart in time."]
    made = write_results(tmp_path_factory.mktemp("made"), tables)
    write_map(made, {FAR: "0815", MIXED: "0816", KEPT: "0817"}, {})
    return made


def screen(answer: Answer, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(*answer.tables, sep="\n")
    return capture.get()


def test_an_excluded_patient_says_criterion_evidence_and_exams(made: Made) -> None:
    one = explain(made.results, FAR)
    assert (one.status, one.criterion, one.code) == ("excluded", "dxa_too_far", "E16")
    assert one.threshold == "interval <= 180 days"
    assert one.evidence == {"400 days": 2}
    assert [exam["interval_days"] for exam in one.exams] == ["10"]
    assert (one.n_files, one.n_included, one.subset) == (3, 0, "")
    assert [(row["files"], row["criterion"]) for row in one.outcomes] == [
        (1, "not_lumbar"),
        (2, "dxa_too_far"),
    ]


def test_the_nearest_file_fails_the_fewest_criteria(made: Made) -> None:
    def nearest(patient: str) -> tuple[str, list[str]]:
        one: dict[str, Any] = explain(made.results, patient).nearest or {}
        return one["file_key"], [rule["slug"] for rule in one["criteria"]]

    assert nearest(FAR) == (keys("F", [1])[0], ["dxa_too_far"])
    assert nearest(MIXED) == (keys("F", [3])[0], ["contrast_enhanced", "not_lumbar"])


def test_an_included_patient_says_subset_and_class(made: Made) -> None:
    one = explain(made.results, KEPT)
    assert one.nearest is None
    assert one.evidence == {}
    assert one.subset in schemas.SUBSETS
    assert one.stratum in schemas.CLASSES
    assert f"Subset    {one.subset}, class {one.stratum}" in screen(
        patient_view(made.results, KEPT, private=made.config.private)
    )


def test_before_the_split_there_is_no_subset(made: Made, tmp_path: Path) -> None:
    again = write_results(tmp_path, made.tables)
    again.path("split.csv").unlink()
    assert explain(again.results, KEPT).subset == ""


@pytest.mark.parametrize("asked", [FAR, "0815"])
def test_pseudonym_and_hospital_id_give_the_same_screen(made: Made, asked: str) -> None:
    text = screen(patient_view(made.results, asked, private=made.config.private))
    words = " ".join(text.split())
    assert FAR in text
    assert "0815" not in text
    assert "E16 dxa_too_far (interval <= 180 days): Too far apart in time." in words
    assert "400 days (2 files)" in words
    assert "10 days before the CT (nearest)" in words
    assert "or change exclude.criteria.dxa_too_far.max_interval_days" in words
    assert len(text.splitlines()) <= 24


def test_at_80_characters_no_key_is_folded(made: Made) -> None:
    answer = patient_view(made.results, FAR, private=made.config.private, limit=None)
    text = screen(answer)
    assert max(map(len, text.splitlines())) <= 80
    whole = re.findall(r"\bF-[0-9a-f]{16}\b", text)
    assert {keys("F", [file])[0] for file in range(3)} <= set(whole)
    assert not re.findall(r"\b[FP]-[0-9a-f]{0,15}\b(?![0-9a-f])", text)


def test_json_holds_the_explanation(made: Made) -> None:
    answer = patient_view(made.results, FAR, private=made.config.private)
    (patient,) = json.loads(answer.json())["patients"]
    assert patient["nearest"]["criteria"][0]["remedy"] == remedy("dxa_too_far")
    assert patient["person"]["age"] == 50


def test_long_lists_say_what_they_leave_out(tmp_path: Path, made: Made) -> None:
    ledger = made.tables.ledger
    numbered = pd.concat([ledger[:1]] * 12, ignore_index=True)
    numbered["file_key"] = keys("F", range(12))
    numbered["evidence"] = [f"reason {number}" for number in range(12)]
    again = write_results(tmp_path, tables_of(numbered))
    text = screen(patient_view(again.results, FAR, private=again.config.private))
    assert "reason 2 (1 file); 9 more" in " ".join(text.split())
    assert "4 more outcomes; --all lists every file." in text


def test_what_a_reader_cannot_lift_is_not_offered_for_review() -> None:
    lifted = {rule.slug for rule in CRITERIA if not rule.final}
    offered = {rule.slug for rule in CRITERIA if remedy(rule.slug).endswith("in review.csv")}
    assert offered == lifted
