"""The whole workflow in miniature, through Snakemake; the tests share one run and go on from it."""

import csv
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from _pytest.mark import ParameterSet
from support.scratch import ROOT, Project, use_small_detector

pytestmark = pytest.mark.end_to_end

SNAKEMAKE = ("snakemake", "--cores", "1")
"""With one core: another worker of the tests has the other one."""
BLOCK_BYTES = 1 << 20
"""How much of a file is searched at once: a search takes 20 bytes for each."""
COLUMNS = (
    "method,backbone,attention,seeds,test_patients,test_images,map,recall,accuracy,fps,"
    "ms_per_image,parameters_m,paper_map,paper_recall,paper_accuracy,data"
)


@pytest.fixture(scope="module")
def finished(project: Project) -> Project:
    """Return the project with Table 1, by a detector of a few convolutions.

    test_external.py trains ResNet50 and MobileNetV2 by the same rules.
    """
    use_small_detector(project)
    project.succeed(*SNAKEMAKE, "results/table1.csv")
    return project


def weights(project: Project) -> dict[str, int]:
    """Return when each detector's weights were written."""
    found = (project.path / "results" / "models").rglob("weights.pt")
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_table1_has_the_papers_rows(finished: Project) -> None:
    text = (finished.path / "results" / "table1.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert text.startswith(f"{COLUMNS},map_low,map_high,")
    assert [row["attention"] for row in rows] == ["none", "se", "sk", "ds"]
    assert all("synthetic" in row["data"] for row in rows)
    assert [row["paper_map"] for row in rows] == ["78.2", "80.4", "81.4", "83.4"]


def test_ledger_accounts_for_every_file(finished: Project) -> None:
    with (finished.path / "results/cohort/ledger.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    files = [path for path in (finished.path / "data/phantom/dicom").rglob("*") if path.is_file()]
    assert len(rows) == len(files)


def test_every_planted_case_is_found(finished: Project) -> None:
    answers = finished.json("data/phantom-answers.json")
    with (finished.path / "results/cohort/ledger.csv").open(encoding="utf-8") as stream:
        found = {
            slug.rstrip("?")
            for row in csv.DictReader(stream)
            for slug in row["all_criteria"].split(";")
        }
    assert {case["criterion"] for case in answers["planted"]} <= found


def test_second_run_does_nothing(finished: Project) -> None:
    printed = finished.succeed("snakemake", "-n", "results/table1.csv")
    assert "Nothing to be done" in printed, printed


def planned(project: Project, *arguments: str) -> set[str]:
    """Return the rules that a dry run would run for Table 1."""
    printed = project.succeed("snakemake", "-n", "results/table1.csv", *arguments)
    return set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", printed, re.MULTILINE))


COHORT_STEPS = {"exclude", "label", "split", "slices"}
# What a dry run lists behind the checkpoint: it runs only if the digest of the slices changes.
BEHIND = {"train", "predict", "evaluate", "speed", "table1"}
CHANGED_SOURCE = {
    "dsnet/tables/literature.py": {"table1"},
    "dsnet/evaluate/grading.py": {"evaluate", "table1"},
    "dsnet/inference/step.py": {"predict", "evaluate", "table1"},
    "dsnet/inference/speed.py": {"speed", "table1"},
    "dsnet/train/step.py": {"train", "predict", "evaluate", "speed", "table1"},
    "dsnet/detect/attention.py": {"train", "predict", "evaluate", "speed", "table1"},
    "dsnet/slices/image.py": {"slices", *BEHIND},
    "dsnet/split/step.py": {"split", "slices", *BEHIND},
    "dsnet/label.py": {"label", "split", "slices", *BEHIND},
    "dsnet/exclude/step.py": {*COHORT_STEPS, *BEHIND},
    "dsnet/match/step.py": {"match", *COHORT_STEPS, *BEHIND},
    "dsnet/ingest/index.py": {"ingest", "match", *COHORT_STEPS, *BEHIND},
    "dsnet/report/step.py dsnet/phi/step.py dsnet/figures/curves.py "
    "dsnet/figures/trainings.py dsnet/tables/other_data.py dsnet/baseline/controls.py": set(),
}
CHANGED_CONFIG = {
    "evaluate: {bootstrap: 101}": {"evaluate", "table1"},
    "train: {momentum: 0.8}": {"train", "predict", "evaluate", "speed", "table1"},
    "detector: {roi_samples: 9}": {"train", "predict", "evaluate", "speed", "table1"},
    "slices: {pixel_mm: 3.5}": {"slices", *BEHIND},
    "split: {seed: 1}": {"split", "slices", *BEHIND},
    "label: {t_score: lowest}": {"match", *COHORT_STEPS, *BEHIND},
    "exclude: {unknown_history: exclude}": {*COHORT_STEPS, *BEHIND},
    "dxa: {outlier_levels: leave_out}": {"match", *COHORT_STEPS, *BEHIND},
    "clinical: {yes_words: [presente]}": {"match", *COHORT_STEPS, *BEHIND},
    "ingest: {metal_hu: 2400}": {"ingest", "match", *COHORT_STEPS, *BEHIND},
    "report: {thumbnails: 3}\nbaseline: {normal_hu: 161}\n"
    "leakage: {shuffles: 21}\nphi_check: {processes: 1}": set(),
}


def every_third(cases: Iterable[str]) -> list[ParameterSet]:
    """Mark all cases but every third as heavy: a dry run for each takes minutes together."""
    return [
        pytest.param(case, marks=pytest.mark.heavy if number % 3 else ())
        for number, case in enumerate(cases)
    ]


@pytest.mark.parametrize("names", every_third(CHANGED_SOURCE))
def test_changed_source_runs_its_own_steps_again(finished: Project, names: str) -> None:
    sources = {finished.path / name: (finished.path / name).read_bytes() for name in names.split()}
    for path, source in sources.items():
        path.write_bytes(source + b"# Another word.\n")
    try:
        assert planned(finished) == CHANGED_SOURCE[names]
    finally:
        for path, source in sources.items():
            path.write_bytes(source)


@pytest.mark.parametrize("text", every_third(CHANGED_CONFIG))
def test_changed_config_runs_its_own_steps_again(finished: Project, text: str) -> None:
    (finished.path / "changed.yaml").write_text(text + "\n", encoding="utf-8")
    assert planned(finished, "--configfile", "changed.yaml") == CHANGED_CONFIG[text]


def test_new_dates_and_a_new_key_of_another_section_run_nothing(finished: Project) -> None:
    for path in (finished.path / "dsnet").rglob("*.py"):
        path.touch()
    assert planned(finished) == set()
    changed = finished.path / "dsnet" / "config" / "output.py"
    source = changed.read_text(encoding="utf-8")
    changed.write_text(
        source.replace("    thumbnails:", "    another: int = 1\n    thumbnails:"), encoding="utf-8"
    )
    try:
        assert planned(finished) == set()
    finally:
        changed.write_text(source, encoding="utf-8")


def test_no_identity_in_any_produced_byte(finished: Project) -> None:
    answers = finished.json("data/phantom-answers.json")
    planted = {text for text in answers["identifiers"] if len(text) >= 4}
    assert len(planted) > 100
    by_start: dict[bytes, list[bytes]] = {}
    for text in sorted(planted):
        by_start.setdefault(text.encode()[:3], []).append(text.encode())
    starts = np.zeros(1 << 24, dtype=bool)
    starts[[int.from_bytes(start) for start in by_start]] = True
    private = (finished.path / "data", finished.path / "config", finished.path / "dsnet")
    produced = [
        path
        for path in finished.path.rglob("*")
        if path.is_file() and not any(path.is_relative_to(folder) for folder in private)
    ]
    assert any(".snakemake" in path.parts for path in produced)
    for path in produced:
        content = path.read_bytes() + str(path.relative_to(finished.path)).encode()
        for first in range(0, len(content), BLOCK_BYTES):
            # Only where three bytes are those that a pattern begins with: weights are large.
            block = np.frombuffer(content[first : first + BLOCK_BYTES + 2], dtype=np.uint8)
            of_bytes = block.astype(np.uint32)
            at = np.flatnonzero(starts[of_bytes[:-2] << 16 | of_bytes[1:-1] << 8 | of_bytes[2:]])
            assert not any(
                content.startswith(tuple(by_start[content[begin : begin + 3]]), begin)
                for begin in (first + at).tolist()
            ), path


def test_all_is_planned_whole(finished: Project) -> None:
    printed = finished.succeed("snakemake", "-n", "all")
    assert "phi_check" in printed
    # Table 2's four more, and the two of the leakage experiment.
    assert printed.count("rule train:") == 4
    assert printed.count("rule trial_train:") == 2


def touch(folder: Path) -> dict[Path, int]:
    """Give all files in `folder` a new date, and return their old ones."""
    dates = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    for path in dates:
        path.touch()
    return dates


def test_an_excluded_new_patient_and_new_dates_train_nothing(finished: Project) -> None:
    cohort = finished.path / "data" / "phantom"
    before = weights(finished)
    add_contrast_patient(cohort)
    touch(cohort)
    printed = finished.succeed(*SNAKEMAKE, "results/table1.csv")
    assert "rule ingest" in printed
    assert "rule train" not in printed
    assert weights(finished) == before
    assert "Nothing to be done" in finished.succeed("snakemake", "-n", "results/table1.csv")
    # Dates alone are seen, too: this is no longer the phantom as it was generated.
    dates = touch(cohort)
    assert "ingest" in planned(finished)
    for path, date in dates.items():
        os.utime(path, ns=(date, date))


def test_another_cohort_is_refused(finished: Project) -> None:
    other = finished.path / "data" / "other"
    (other / "dicom").mkdir(parents=True, exist_ok=True)
    result = finished.run("snakemake", "-n", "--config", "cohort=data/other")
    assert result.returncode != 0
    assert "results of another one" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_misspelt_key_is_named_with_its_file_and_line(project: Project) -> None:
    config = project.path / "misspelt.yaml"
    config.write_text("train: {epoch: 3}\nsplit: {test_fraction: 1.5}\n", encoding="utf-8")
    result = project.run("snakemake", "-n", "--configfile", config.name)
    assert result.returncode != 0
    assert "train.epoch = 3" in result.stdout
    assert "did you mean epochs?" in result.stdout
    assert "split.test_fraction = 1.5" in result.stdout
    # The demo's config has this key, too: the last one that sets it counts.
    assert "in misspelt.yaml line 2;" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    ("entries", "expected"),
    [(["DICOM"], "a folder dicom/ in it"), (["dicom", "annotation"], "an entry annotations/")],
)
def test_a_folder_that_is_nearly_a_cohort_stops_before_it_is_read(
    project: Project, entries: list[str], expected: str
) -> None:
    cohort = project.path / "data" / "-".join(entries)
    for entry in entries:
        (cohort / entry).mkdir(parents=True)
    folders = (f"cohort=data/{cohort.name}", "results=results-nearly")
    printed = project.run("snakemake", "-n", "--config", *folders).stdout
    stop, more = printed.rstrip().splitlines()[-2:]
    assert stop.startswith(f"dsnet: cohort folder: expected {expected}, but found one whose name")
    assert more == "dsnet: dsnet check lists all faults of the cohort at once."


def test_an_unusable_table_is_one_sentence(finished: Project) -> None:
    cohort = finished.path / "data" / "broken"
    shutil.copytree(finished.path / "data" / "phantom", cohort)
    table = cohort / "dxa.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    lines[2] = ",".join([*cells[:-1], "minus two"])
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = finished.run(*SNAKEMAKE, "--config", "cohort=data/broken", "results=results-broken")
    assert result.returncode != 0
    assert "dsnet: dxa.csv row 3" in result.stdout
    assert "minus two" not in result.stdout
    assert "Traceback" not in result.stdout
    assert not list((finished.path / "results-broken" / "cohort").glob("ledger*"))
    last = [line for line in result.stdout.splitlines() if line][-3:]
    assert last[0].startswith("dsnet: dxa.csv row 3: expected a T-score")
    assert last[1:] == [
        "dsnet: on a private terminal, dsnet why adds whose data these are.",
        "dsnet: dsnet check lists all faults of the cohort at once.",
    ]
    printed = finished.succeed("dsnet", "why")
    assert "dxa.csv row 3" in printed
    assert "minus two" not in printed


def test_what_failed_leaves_nothing_older_up_to_date(finished: Project) -> None:
    """A table of the cohort that became unusable, and then a detector that fails."""
    table = finished.path / "data" / "phantom" / "dxa.csv"
    sound = table.read_bytes()
    table.write_bytes(sound.replace(b"-", b"minus", 1))
    assert finished.run(*SNAKEMAKE, "results/table1.csv").returncode != 0
    assert "match" in planned(finished)
    table.write_bytes(sound)

    step = finished.path / "dsnet" / "inference" / "step.py"
    source = step.read_bytes()
    before = weights(finished)
    step.write_bytes(b"raise SystemExit(3)\n" + source)
    try:
        failed = finished.run(*SNAKEMAKE, "results/table1.csv")
    finally:
        step.write_bytes(source)
    assert failed.returncode != 0
    assert re.findall(r"Error in rule (\w+):", failed.stdout) == ["predict"]
    assert {"predict", "evaluate", "table1"} <= planned(finished)
    finished.succeed(*SNAKEMAKE, "results/table1.csv")
    assert "Nothing to be done" in finished.succeed("snakemake", "-n", "results/table1.csv")
    assert weights(finished) == before


def test_a_config_of_ones_own_stands_above_the_demos(finished: Project) -> None:
    local = finished.path / "config" / "local.yaml"
    local.write_text("evaluate: {bootstrap: 103}\n", encoding="utf-8")
    try:
        assert planned(finished) == {"evaluate", "table1"}
        assert planned(finished, "--configfile", "config/config.yaml") == set()
        local.write_text("evaluate:\n\tbootstrap: 103\n", encoding="utf-8")
        for command in (("snakemake", "-n"), ("dsnet", "criteria")):
            result = finished.run(*command)
            assert result.returncode != 0
            assert "dsnet: config/local.yaml line 2: expected YAML" in result.stdout
    finally:
        local.unlink()


def test_the_readmes_daily_commands_work(finished: Project) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.partition("## Daily use")[2].partition("```console\n")[2].partition("```")[0]
    commands = [line.partition("#")[0].split() for line in block.splitlines()]
    # test_dvc.py runs the one, and CI the other, since it trains six more detectors.
    elsewhere = [["dvc", "repro"], ["snakemake", "--cores", "8", "all"]]
    assert all(command in commands for command in elsewhere)
    for command in commands:
        if command not in elsewhere:
            finished.succeed(*command)


def test_what_the_commands_made_identifies_nobody(finished: Project) -> None:
    assert "synthetic" in (finished.path / "results/report.html").read_text(encoding="utf-8")
    assert list((finished.path / "results/deidentified").rglob("*.dcm"))
    searched = finished.json("results/phi_check.json")
    assert searched["values"] > 1000
    assert searched["hits"] == []
    leak = finished.path / "results" / "cohort" / "leak.csv"
    name = next(
        text for text in finished.json("data/phantom-answers.json")["identifiers"] if "^" in text
    )
    leak.write_text(f"a,{name.upper()},b\n", encoding="utf-8")
    found = finished.run("dsnet", "phi-check", "results/cohort")
    leak.unlink()
    assert found.returncode == 1
    assert name.upper() not in found.stdout
    assert "cohort/leak.csv" in {
        hit["path"] for hit in finished.json("results/phi_check.json")["hits"]
    }


def test_audit_tells_of_patients_and_keeps_their_identity(finished: Project) -> None:
    answers = finished.json("data/phantom-answers.json")
    flow = finished.json("results/cohort/flow.json")
    case = next(case for case in answers["planted"] if case["criterion"] == "no_dxa")
    overview = finished.succeed("dsnet", "audit")
    assert "SYNTHETIC" in overview
    assert f"{flow['found']['files']:,}" in overview
    by_patient = finished.succeed("dsnet", "audit", "--patient", case["patient_id"])
    assert "no_dxa" in by_patient
    assert case["patient_id"] not in by_patient
    assert "no_dxa" in finished.succeed("dsnet", "audit", "--criterion", "no_dxa")
    refused = finished.run("dsnet", "audit", "--show-private")
    assert refused.returncode == 1
    assert "expected a terminal" in refused.stdout


def add_contrast_patient(cohort: Path) -> None:
    """Copy one included patient's slices under new identities, with a contrast agent."""
    table = next((cohort / "annotations").glob("*.json"))
    annotated = json.loads(table.read_text(encoding="utf-8"))
    names = [image["file_name"] for image in annotated["images"]]
    folder = names[0].rpartition("/")[0]
    target = cohort / "dicom" / "contrast"
    target.mkdir()
    for number, name in enumerate(name for name in names if name.startswith(folder)):
        dataset = pydicom.dcmread(cohort / "dicom" / name)
        dataset.PatientID, dataset.ContrastBolusAgent = "77001122", "Iohexol 300"
        # Still the phantom's: its key is public, and stands for no other images.
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, f"{dataset[keyword].value[:60]}.7")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(target / f"{number:04d}")
