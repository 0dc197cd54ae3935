"""All Python of the workflow: the checked config, the cohort's state and the shared paths."""

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

from dsnet.cohort.folder import CohortFolder
from dsnet.config import Attention, Backbone, load
from dsnet.errors import UserError
from dsnet.ingest.source import check_source
from dsnet.phantom.origin import is_pristine

PHANTOM = "data/phantom"
PHANTOM_ANSWERS = "data/phantom-answers.json"


def checked(function, *arguments):
    """Call `function`; an error that the user can mend stops the workflow in one sentence."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(f"dsnet: {error}")


CONFIG = checked(load, config)
COHORT = CohortFolder(CONFIG.cohort)
IS_PHANTOM = CONFIG.cohort.as_posix() == PHANTOM
RESULTS = CONFIG.results.as_posix()
TABLES = f"{RESULTS}/cohort"
VARIANT = "{backbone}/{attention}"
RUN = f"{VARIANT}/seed{{seed}}"

# The detectors of each table, in the paper's order, and all of them.
TABLE1 = [f"resnet50/{attention}" for attention in ("none", "se", "sk", "ds")]
TABLE2 = [
    f"{backbone}/{attention}"
    for backbone in ("resnet50", "vgg16", "mobilenet_v2")
    for attention in ("none", "ds")
]
DETECTORS = list(dict.fromkeys([*TABLE1, *TABLE2]))
# What Table 3 measures, and whose ROC curve stands beside the detectors'.
TABLE3 = [
    "resnet50/ds",
    "resnet50/none",
    "hu/thresholds",
    "hu/multinomial",
    "hu_detected/thresholds",
    "hu_detected/multinomial",
]
ROC_BASELINES = ["hu/multinomial"]
FIGURES = [
    "figure4",
    "precision_recall",
    "roc",
    "calibration",
    "froc",
    "confusion_box",
    "confusion_level",
    "confusion_patient",
    "forest",
    "learning",
    "patients",
]

# Steps run with the interpreter that runs Snakemake, whether or not its environment is active.
shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')

# OpenMP's threads wait awake for some microseconds only: on a core that something else wants,
# longer waits make torch up to twenty times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")


wildcard_constraints:
    backbone="|".join(get_args(Backbone)),
    attention="|".join(get_args(Attention)),
    seed=r"\d+",


def cohort(wildcards):
    """Return the cohort folder."""
    return CONFIG.cohort.as_posix()


def below_results(folder):
    """Return a params function whose value is a folder of the results."""
    return lambda wildcards: f"{RESULTS}/{folder}"


def section(name):
    """Return one part of the config as JSON: a rule is run anew for its own part alone."""
    return getattr(CONFIG, name).model_dump_json()


def training():
    """Return the train section as one training sees it: another seed more trains no old one anew."""
    return CONFIG.train.model_dump_json(exclude={"seeds"})


def variant(wildcards):
    """Return which detector a job is about, as JSON."""
    return json.dumps(
        {"backbone": wildcards.backbone, "attention": wildcards.attention}
    )


@cache
def modules(*packages):
    """Return a digest of the source of `packages`: Snakemake's code trigger follows no imports.

    Of the content alone: a fresh clone, whose files are all new, makes nothing anew.
    """
    root = Path(workflow.basedir) / "dsnet"
    files = [root / "schemas.py"]
    for package in packages:
        files += sorted(
            path
            for path in (root / package).rglob("*.*")
            if path.suffix in (".py", ".jinja", ".css", ".js")
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cohort_marker():
    """Return the file of the cohort that the plan may name; slices and tables may name patients."""
    if IS_PHANTOM:
        return f"{PHANTOM}/cohort.json"
    pointer = CONFIG.cohort.with_name(f"{CONFIG.cohort.name}.dvc")
    return pointer.as_posix() if pointer.exists() else []


def cohort_state():
    """Return what changes when the cohort does."""
    if IS_PHANTOM and (
        not COHORT.path.exists() or is_pristine(COHORT, Path(PHANTOM_ANSWERS))
    ):
        return "as generated"
    return COHORT.fingerprint()


def digest(wildcards):
    """Return the slice store's digest, through the checkpoint that spares what comes after it."""
    return checkpoints.slices.get().output.digest


def seeds():
    """Return the seeds that each variant is trained with."""
    return list(CONFIG.train.seeds)


def first(name, variants):
    """Return a file of each variant's training with the first seed, as size and speed need."""
    return [
        f"{RESULTS}/models/{variant}/seed{seeds()[0]}/{name}" for variant in variants
    ]


def first_weights(variants):
    """Return the weights of each variant with the first seed."""
    return first("weights.pt", variants)


def first_manifests(variants):
    """Return the run manifest of each variant with the first seed."""
    return first("manifest.json", variants)


def figure_files(*names):
    """Return the files of figures: picture, drawing and caption."""
    return expand(
        f"{RESULTS}/figures/{{name}}.{{kind}}", name=names, kind=("png", "svg", "json")
    )


def reported():
    """Return the tables and figures on the report's page."""
    names = ("table1", "table2", "table3", "differences", "leakage")
    return [f"{RESULTS}/{name}.csv" for name in names] + figure_files(*FIGURES)


def everything():
    """Return all that the workflow makes without being asked for it by name."""
    others = (
        "report.html",
        "checklist.md",
        "cohort/flow.png",
        "predictions/ground_truth.json",
    )
    return reported() + [f"{RESULTS}/{name}" for name in others]


def timed(variants):
    """Return the detectors to be timed in one run, and where their weights lie, as JSON."""
    models = []
    for variant, weights in zip(variants, first_weights(variants)):
        backbone, attention = variant.split("/")
        models.append(
            {"backbone": backbone, "attention": attention, "weights": weights}
        )
    return json.dumps({"models": models})


def check_cohort():
    """Stop before anything is planned if the cohort is not the one that the results are of."""
    if not IS_PHANTOM and not COHORT.path.is_dir():
        raise UserError(
            "config key cohort",
            expected="a cohort folder",
            came="a path where there is none",
            remedy="correct the key, or put the folder there",
        )
    if COHORT.path.exists():
        check_source(Path(f"{TABLES}/source.json"), COHORT, CONFIG.private)


def check_pointer():
    """Stop if the cohort differs from what its DVC pointer says.

    Not inside ``dvc repro``, which sets DVC_STAGE, holds DVC's lock and has just looked itself.
    """
    pointer = cohort_marker()
    if IS_PHANTOM or not pointer or "DVC_STAGE" in os.environ:
        return
    status = subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet", pointer])
    if status.returncode:
        raise UserError(
            pointer,
            expected="the data that DVC recorded",
            came="a folder that has changed since",
            remedy="run dvc repro after dvc add, or take the change back with dvc checkout",
        )


def check_results():
    """Stop if the results cannot be written."""
    folder = next(
        path
        for path in (CONFIG.results, *CONFIG.results.resolve().parents)
        if path.exists()
    )
    if not os.access(folder, os.W_OK):
        raise UserError(
            f"config key results ({RESULTS})",
            expected="a folder that can be written",
            came="one that is read-only",
            remedy="unlock it, or set results to another folder",
        )


checked(check_cohort)
checked(check_pointer)
checked(check_results)
