import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_phantom import TINY, Made

from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Criteria, Phantom
from dsnet.errors import UserError
from dsnet.phantom import is_pristine
from dsnet.phantom.cases import EXCLUDED, KEPT, plan_cohort
from dsnet.phantom.examination import VENDORS
from dsnet.phantom.patient import write_patient
from dsnet.phantom.person import sample_identity
from dsnet.phantom.step import make_phantom
from dsnet.schemas import CLASSES

pytestmark = pytest.mark.slow


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_bytes_do_not_depend_on_the_process(made: Made, tmp_path: Path) -> None:
    """Two other processes made the fixture."""
    for plan in plan_cohort(TINY)[::6]:
        write_patient(plan, TINY, tmp_path / "dicom")
    here, there = digests(tmp_path / "dicom"), digests(made.dicom)
    assert len(here) > 60
    assert here.items() <= there.items()


def test_another_seed_makes_other_patients(tmp_path: Path) -> None:
    plan = plan_cohort(TINY)[20]
    for seed in (1, 2):
        write_patient(plan, TINY.model_copy(update={"seed": seed}), tmp_path / str(seed))
    first, second = (set(digests(tmp_path / seed).values()) for seed in "12")
    assert not first & second


def test_cohort_is_marked_as_synthetic(made: Made) -> None:
    folder = CohortFolder(made.cohort)
    assert (folder.name, folder.synthetic, folder.phantom_seed) == ("phantom", True, TINY.seed)
    assert made.answers["synthetic"] is True
    assert made.answers["shape"] == folder.shape()
    assert made.answers["params"] == TINY.model_dump(mode="json")
    assert made.answers["expected"] == {"normal": 5, "osteopenia": 5, "osteoporosis": 5}


def test_a_copy_is_pristine_until_it_changes(made: Made, tmp_path: Path) -> None:
    cohort = shutil.copytree(made.cohort, tmp_path / "phantom")
    assert is_pristine(CohortFolder(cohort), made.answers_path)
    assert not is_pristine(CohortFolder(cohort), tmp_path / "absent.json")
    next((cohort / "dicom").rglob("IM0*")).unlink()
    assert not is_pristine(CohortFolder(cohort), made.answers_path)


def test_parsing_the_workflow_loads_no_numeric_library() -> None:
    code = "import sys, dsnet.phantom; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"numpy", "pandas", "pydicom", "scipy"} & set(loaded)


def test_every_criterion_is_planted(made: Made) -> None:
    planted = {entry["criterion"] for entry in made.answers["planted"]}
    # A withdrawal is recorded by a command; the others are tested on files made for them.
    elsewhere = {"withdrawn", "multi_frame", "uid_conflict", "not_120_kvp"}
    assert planted == set(Criteria.model_fields) - elsewhere
    flagged = {e["criterion"] for e in made.answers["planted"] if e["status"] == "review"}
    assert flagged == {"cement", "not_bone_kernel"}
    of_files = {entry["criterion"] for entry in made.answers["planted"] if "file" in entry}
    assert of_files >= {"unreadable", "undecodable_pixels", "duplicate", "not_ct", "not_lumbar"}


def test_every_file_has_its_answer(made: Made) -> None:
    files = {p.relative_to(made.dicom).as_posix() for p in made.dicom.rglob("*") if p.is_file()}
    assert files == set(made.answers["files"])
    assert made.answers["cohort_files"] == len(digests(made.cohort)) == len(files) + 5
    planted = {e["file"]: e["criterion"] for e in made.answers["planted"] if "file" in e}
    assert planted.items() <= made.answers["files"].items()


def test_t_scores_agree_with_the_table_and_the_class(made: Made) -> None:
    exams: dict[str, list[dict[str, str]]] = {}
    for row in made.rows("dxa.csv"):
        exams.setdefault(row["patient_id"], []).append(row)
    boundary = Counter()
    for patient in made.answers["patients"]:
        rows = exams.get(patient["patient_id"], [])
        if not rows:
            assert patient["case"] == "no DXA"
            continue
        t_score = patient["t_score"]
        assert rows[-1]["L1-L4_t_score"] == ("" if "without T" in patient["case"] else t_score)
        normal, porotic = float(t_score) >= -1.0, float(t_score) <= -2.5
        assert patient["class"] == (
            "normal" if normal else "osteoporosis" if porotic else "osteopenia"
        )
        boundary[t_score] += patient["included"]
    assert boundary["-1.0"] >= 1
    assert boundary["-2.5"] >= 1
    assert Counter(map(len, exams.values()))[2] == 1


def test_the_nearer_exam_of_two_counts(made: Made) -> None:
    patient = made.patient("two exams")
    (name, *_) = made.files("two exams", "")
    ct_date = pydicom.dcmread(name, stop_before_pixels=True).StudyDate
    ct_day = date.fromisoformat(ct_date)
    rows = [row for row in made.rows("dxa.csv") if row["patient_id"] == patient["patient_id"]]
    days = [abs((date.fromisoformat(row["exam_date"]) - ct_day).days) for row in rows]
    assert days == [150, 20]
    assert rows[0]["L1-L4_t_score"] != rows[1]["L1-L4_t_score"] == patient["t_score"]


def test_tables_keep_zeros_blanks_and_line_ends(made: Made) -> None:
    assert b"\r\n" in (made.cohort / "clinical.csv").read_bytes()
    assert b"\r" not in (made.cohort / "dxa.csv").read_bytes()
    clinical = {row["patient_id"]: row for row in made.rows("clinical.csv")}
    assert len(clinical) == len(made.answers["patients"])
    assert all(patient_id.startswith("00") for patient_id in clinical)
    unknown = clinical[made.patient("unknown history")["patient_id"]]
    assert unknown["tumour"] == unknown["fracture_history"] == ""
    assert clinical[made.patient("tumour")["patient_id"]]["tumour"] == "yes"


def test_identifiers_are_in_the_cohort(made: Made) -> None:
    content = b"".join(
        str(path.relative_to(made.cohort)).encode() + path.read_bytes()
        for path in made.cohort.rglob("*")
        if path.is_file()
    )
    present = [text for text in made.answers["identifiers"] if text.encode() in content]
    # The deflated transfer syntax compresses the header as well.
    assert len(present) > 0.8 * len(made.answers["identifiers"])
    assert min(len(text) for text in made.answers["identifiers"]) >= 7
    assert made.answers_path.parent == made.cohort.parent


def test_identities_are_unique() -> None:
    people = [sample_identity(np.random.default_rng(n), n) for n in range(1, 3025)]
    for attribute in ("name", "patient_id", "accession", "folder"):
        assert len({getattr(person, attribute) for person in people}) == len(people)


def test_plan_balances_the_classes() -> None:
    plans = plan_cohort(Phantom())
    included = [plan for plan in plans if plan.included]
    assert Counter(plan.label for plan in included) == dict.fromkeys(
        ("normal", "osteopenia", "osteoporosis"), 36
    )
    assert Counter(plan.label for plan in included if plan.boundary) == {
        "normal": 2,
        "osteoporosis": 2,
    }
    assert len({plan.number for plan in plans}) == len(plans)


@given(st.integers(0, 2**31 - 1), st.integers(11, 40))
@settings(deadline=None, max_examples=25)
def test_every_class_has_the_same_protocols(seed: int, patients_per_class: int) -> None:
    plans = plan_cohort(Phantom(seed=seed, patients_per_class=patients_per_class))
    settings_of = {
        "scanner": lambda protocol: (protocol.vendor, protocol.kernel),
        "syntax": lambda protocol: protocol.syntax,
        "thickness": lambda protocol: protocol.thickness_mm,
        "quarter": lambda protocol: int(4 * protocol.field),
    }
    for setting in settings_of.values():
        counted = [
            Counter(setting(plan.protocol) for plan in plans if plan.included and plan.label == one)
            for one in CLASSES
        ]
        assert counted[0] == counted[1] == counted[2]
    assert len({plan.protocol.field for plan in plans}) == len(plans)


@given(st.integers(0, 2**31 - 1), st.integers(5, 12))
@settings(deadline=None, max_examples=25)
def test_cases_get_the_scanner_that_they_need(seed: int, patients_per_class: int) -> None:
    plans = plan_cohort(Phantom(seed=seed, patients_per_class=patients_per_class))
    assert [plan.number for plan in plans] == list(range(1, len(plans) + 1))
    assert [plan.case.name for plan in plans[: len(KEPT)]] == [case.name for case in KEPT]
    assert [plan.case.name for plan in plans if not plan.included] == [c.name for c in EXCLUDED]
    for plan in plans:
        assert plan.case.vendor in ("", plan.protocol.vendor)
        assert plan.case.syntax in ("", plan.protocol.syntax)
        assert plan.protocol.kernel in VENDORS[plan.protocol.vendor].bone_kernels


def test_a_rerun_replaces_a_phantom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsnet.phantom.step.plan_cohort", lambda params: plan_cohort(params)[:1])
    cohort, answers = tmp_path / "phantom", tmp_path / "answers.json"
    make_phantom(TINY, cohort, answers, 1)
    before = digests(cohort)
    (cohort / "dicom" / "stale.dcm").write_bytes(b"of an older phantom")
    # Snakemake removes a rule's outputs first: then only the marker identifies the folder.
    (cohort / "cohort.json").unlink()
    make_phantom(TINY, cohort, answers, 1)
    assert digests(cohort) == before


def test_a_failed_run_leaves_no_complete_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("dsnet.phantom.step.plan_cohort", lambda params: plan_cohort(params)[:1])
    monkeypatch.setattr("dsnet.phantom.step.coco", fail)
    cohort = tmp_path / "phantom"
    with pytest.raises(RuntimeError):
        make_phantom(TINY, cohort, tmp_path / "answers.json", 1)
    assert not (cohort / "cohort.json").exists()
    assert not (tmp_path / "answers.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr("dsnet.phantom.step.plan_cohort", lambda params: plan_cohort(params)[:1])
    make_phantom(TINY, cohort, tmp_path / "answers.json", 1)
    assert (cohort / "cohort.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"dicom/patient.dcm": "DICM"},
        {"cohort.json": json.dumps({"name": "hospital", "synthetic": False, "phantom_seed": 1})},
        {"cohort.json": json.dumps({"synthetic": True, "phantom_seed": 1}), "thesis.docx": "mine"},
        {".phantom": "", "thesis.docx": "mine"},
    ],
)
def test_other_data_is_never_touched(content: dict[str, str], tmp_path: Path) -> None:
    cohort = tmp_path / "phantom"
    for name, text in content.items():
        (cohort / name).parent.mkdir(parents=True, exist_ok=True)
        (cohort / name).write_text(text)
    before = digests(cohort)
    with pytest.raises(UserError, match="other data"):
        make_phantom(TINY, cohort, tmp_path / "answers.json", 1)
    assert digests(cohort) == before


def test_a_file_is_no_cohort_folder(tmp_path: Path) -> None:
    (tmp_path / "phantom").write_text("mine")
    with pytest.raises(UserError, match="other data"):
        make_phantom(TINY, tmp_path / "phantom", tmp_path / "answers.json", 1)
    assert (tmp_path / "phantom").read_text() == "mine"


def test_answers_stay_out_of_the_cohort(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="outside the cohort"):
        make_phantom(TINY, tmp_path / "phantom", tmp_path / "phantom" / "answers.json", 1)
    assert not (tmp_path / "phantom").exists()


def test_another_scanner_mix_and_prevalence(tmp_path: Path) -> None:
    options = {
        "patients_per_class": 10,
        "class_shares": (1.0, 0.5, 0.7),
        "vendors": ("siemens", "siemens", "canon"),
        "kernels": {"siemens": ("B80s",)},
        "tube_kvp": (100, 140),
    }
    north = Phantom.model_validate({**TINY.model_dump(), **options})
    plans = plan_cohort(north)
    ordinary = [plan for plan in plans if plan.included and not plan.case.vendor]
    assert Counter(plan.label for plan in plans if plan.included) == {
        "normal": 10,
        "osteopenia": 5,
        "osteoporosis": 7,
    }
    assert {plan.protocol.vendor for plan in ordinary} == {"siemens", "canon"}
    assert {p.protocol.kernel for p in plans if p.protocol.vendor == "siemens"} == {"B80s"}
    for plan in ordinary[:2]:
        record = write_patient(plan, north, tmp_path)
        header = pydicom.dcmread(tmp_path / next(iter(record.files)))
        assert (100, 140)[plan.number % 2] == header.KVP


def test_a_shifted_and_noisier_scanner_shows_the_same_anatomy(tmp_path: Path) -> None:
    plan = next(plan for plan in plan_cohort(TINY) if plan.case.name == "ordinary")
    images = {}
    for name, options in (
        ("as it is", {}),
        ("shifted", {"shift_hu": 40.0}),
        ("noisy", {"noise_factor": 2.0}),
    ):
        params = TINY.model_copy(update=options)
        write_patient(plan, params, tmp_path / name)
        path = min(path for path in (tmp_path / name).rglob("*") if path.is_file())
        header = pydicom.dcmread(path)
        images[name] = header.pixel_array + float(header.RescaleIntercept)
    body = (images["as it is"] > -500) & (images["as it is"] < 1500)
    shifted, noisy = (
        images[name][body] - images["as it is"][body] for name in ("shifted", "noisy")
    )
    assert np.abs(shifted - 40).max() <= 1
    assert abs(noisy.mean()) < 1
    assert 14 < noisy.std() < 30
