"""A second phantom of another scanner mix as another hospital; the tests share one run."""

import csv
import json
import shutil

import pytest
import yaml
from support.scratch import Project

pytestmark = pytest.mark.end_to_end

NORTH = {
    "seed": 11,
    "vendors": ["siemens", "canon"],
    "kernels": {"siemens": ["B80s"]},
    "tube_kvp": [100],
    "noise_factor": 1.5,
    "shift_hu": 30,
    "class_shares": [1.0, 1.0, 0.6],
}
METRICS = "results/external/north/metrics"
WANTED = (
    f"{METRICS}/mobilenet_v2/none.json",
    f"{METRICS}/hu/thresholds.json",
    "results/metrics/resnet50/ds.json",
)
CONFIG = ("--configfile", "external.yaml")


@pytest.fixture(scope="module")
def finished(project: Project, phantom: Project) -> Project:
    shutil.copytree(phantom.path / "data", project.path / "data", dirs_exist_ok=True)
    config = project.path / "external.yaml"
    (project.path / "north.yaml").write_text(yaml.safe_dump({"phantom": NORTH}), encoding="utf-8")
    project.succeed(
        *("dsnet", "phantom", "--cohort", "data/north", "--answers", "data/north.json"),
        *("--configfile", "north.yaml"),
    )
    # With a process for each core, as by default; the tiny config has one.
    config.write_text(
        "external: {north: data/north}\ningest: {processes: 0}\nslices: {processes: 0}\n",
        encoding="utf-8",
    )
    project.succeed("snakemake", "--cores", "1", *WANTED, *CONFIG)
    return project


def rows(project: Project, name: str) -> list[dict[str, str]]:
    with (project.path / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_external_cohort_is_tested_whole_by_the_frozen_detector(finished: Project) -> None:
    made = finished.json(WANTED[0])
    split = rows(finished, "results/external/north/cohort/split.csv")
    assert {row["subset"] for row in split} == {"test"}
    assert made["counts"]["patients"] == len({row["patient_key"] for row in split}) == 13
    internal = finished.json("results/metrics/mobilenet_v2/none.json")
    assert made["thresholds"] == internal["thresholds"]
    temperatures = [one["calibration"]["temperature_by_seed"] for one in (made, internal)]
    assert temperatures[0] == temperatures[1]
    assert len(made["external"]["weights_sha256"][0]) == 64


def test_nothing_is_trained_or_fitted_on_it(finished: Project) -> None:
    models = finished.path / "results" / "models"
    trained = {path.relative_to(models).as_posix() for path in models.rglob("weights.pt")}
    assert trained == {"mobilenet_v2/none/seed0/weights.pt", "resnet50/ds/seed0/weights.pt"}
    own, north = (
        finished.json(f"results/{folder}baseline/model.json")["multinomial"]
        for folder in ("", "external/north/")
    )
    assert own == north


def test_the_papers_detector_itself_was_trained(finished: Project) -> None:
    """The other end-to-end tests have a few convolutions in its place."""
    trained = finished.json("results/models/resnet50/ds/seed0/manifest.json")["result"]
    assert trained["parameters"] > 41e6
    measured = finished.json("results/metrics/resnet50/ds.json")
    assert measured["counts"]["images"] > 0


def test_another_cohort_has_other_keys_and_folders(finished: Project) -> None:
    sources = [
        finished.json(f"results/{folder}cohort/source.json") for folder in ("", "external/north/")
    ]
    assert sources[0]["cohort_id"] != sources[1]["cohort_id"]
    private = finished.path / "data" / "private"
    assert (private / "external/north" / sources[1]["cohort_id"] / "map.parquet").exists()
    assert not (private / sources[1]["cohort_id"]).exists()


def test_the_shift_of_hu_shows_in_the_external_baseline(finished: Project) -> None:
    means = []
    for folder in ("", "external/north/"):
        measured = rows(finished, f"results/{folder}baseline/features.csv")
        normal = [float(row["core_mean_hu"]) for row in measured if row["label"] == "normal"]
        means.append(sum(normal) / len(normal))
    assert means[1] - means[0] > 10


def test_a_second_run_does_nothing(finished: Project) -> None:
    assert "Nothing to be done" in finished.succeed("snakemake", "-n", *WANTED, *CONFIG)


def test_all_covers_the_external_cohort(finished: Project) -> None:
    printed = finished.succeed("snakemake", "-n", "all", *CONFIG)
    assert "external.csv" in printed
    assert "source.json" in printed


def test_an_external_hospital_id_is_found_wherever_it_lies(finished: Project) -> None:
    # ResNet50's weights take half a minute; test_workflow.py searches those that are smaller.
    weights = finished.path / "results" / "models" / "resnet50"
    weights.rename(finished.path.with_name("resnet50"))
    assert "no hit" in finished.succeed("dsnet", "phi-check", *CONFIG)
    answers = finished.json("data/north.json")
    leak = finished.path / "results" / "cohort" / "leak.csv"
    leak.write_text(f"a,{answers['patients'][0]['patient_id']}\n", encoding="utf-8")
    found = finished.run("dsnet", "phi-check", "results/cohort", *CONFIG)
    leak.unlink()
    assert found.returncode == 1
    report = json.loads((finished.path / "results/phi_check.json").read_text(encoding="utf-8"))
    assert "cohort/leak.csv" in {hit["path"] for hit in report["hits"]}


def test_without_the_config_its_results_are_refused(finished: Project) -> None:
    refused = finished.run("dsnet", "phi-check")
    assert refused.returncode == 1
    assert "results of another one" in refused.stdout


def test_audit_and_check_know_the_external_cohort(finished: Project) -> None:
    answers = finished.json("data/north.json")
    case = next(case for case in answers["planted"] if case["criterion"] == "no_dxa")
    folder = ("--results", "results/external/north")
    printed = finished.succeed("dsnet", "audit", "--patient", case["patient_id"], *folder, *CONFIG)
    assert "no_dxa" in printed
    assert case["patient_id"] not in printed
    small = finished.path / "small.yaml"  # check trains on two batches, by the clock
    small.write_text("train: {batch_size: 2}\n", encoding="utf-8")
    printed = finished.succeed("dsnet", "check", *CONFIG, "--configfile", small.name)
    assert "External cohort north" in printed
