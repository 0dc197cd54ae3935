"""All Python of the workflow: the checked config, the cohort's state and the shared paths."""

import atexit
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

from dsnet import errors
from dsnet.cohort.folder import CohortFolder
from dsnet.config.detector import Attention, Backbone
from dsnet.config.load import load
from dsnet.config.output import FIGURES
from dsnet.phantom import is_pristine
from dsnet.processes import training_cores
from dsnet.results import SOURCE, check_source, read_source
from dsnet.source_digest import source_digest

PHANTOM = "data/phantom"
PHANTOM_ANSWERS = "data/phantom-answers.json"


def check_nodes():
    """Stop where nothing would start the processes of a training on several nodes."""
    wanted = CONFIG.train
    if wanted.nodes == 1:
        return
    if workflow.executor_plugin.name != "slurm":
        raise UserError(
            "config train.nodes",
            expected="1 on one machine",
            came=f"{wanted.nodes}",
            remedy="run snakemake with --profile profiles/slurm, or set it to 1",
        )
    if wanted.devices == "auto":
        raise UserError(
            "config train.devices",
            expected="a number, since SLURM starts one process for each on several nodes",
            came="auto",
            remedy="set it to the GPUs that each node gives",
        )


def check_storage():
    """Stop where Snakemake would bring each file from an object store: steps read folders, too."""
    provider = workflow.storage_settings.default_storage_provider
    if provider not in (None, "none"):
        raise UserError(
            "option --default-storage-provider",
            expected="none, since steps read files of others by their folder",
            came=provider,
            remedy="run on a file system, and bring data and results there (docs/scale.md)",
        )


checked(check_storage)
# Snakemake names the files of --configfile, whose keys win, before those of this workflow.
CONFIG_FILES = sorted(
    map(Path, workflow.configfiles), key=workflow.overwrite_configfiles.count
)
CONFIG = checked(load, config, CONFIG_FILES)
# Whose files go through the rules from ingest to slices, and where everything is written.
COHORT = CohortFolder(CONFIG.cohort)
RESULTS = CONFIG.results.as_posix()
BENCHMARKS = f"{RESULTS}/benchmarks"
TABLES = f"{RESULTS}/cohort"
IS_PHANTOM = CONFIG.cohort.as_posix() == PHANTOM
VARIANT = "{backbone}/{attention}"
RUN = f"{VARIANT}/seed{{seed}}"
SEEDS = list(CONFIG.train.seeds)
# What training sees beside the slice store: nothing, unless train.negatives is above 0.
NEGATIVES = [f"{TABLES}/negatives.npy", f"{TABLES}/negatives.csv"]
if CONFIG.train.negatives == 0:
    NEGATIVES = []

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
CLAIMED_BASELINES = [method for method in TABLE3 if method.startswith("hu")]
# Whose figures are given by groups of patients: the paper's detector, and it without attention.
SUBGROUP_DETECTORS = ["resnet50/none", "resnet50/ds"]
# Whose net benefit and sample size are given.
CLINICAL_METHODS = [*SUBGROUP_DETECTORS, "hu/multinomial"]
# Variations of the split (rules/repeats.smk), each with a training of the leakage's detector.
REPEATED_SPLITS = [f"split{number + 1}" for number in range(CONFIG.split.repeats)]
TRAINING_SHARES = [f"share{percent}" for percent in CONFIG.split.learning_curve]
# Options that several steps share.
FOLDERS = {"metrics": f"{RESULTS}/metrics", "models": f"{RESULTS}/models"}
SPEED = {
    "images": CONFIG.evaluate.speed_images,
    "warmup": CONFIG.evaluate.speed_warmup,
}

# All cores for one job; on a cluster, profiles/slurm caps them by max-threads.
ALL_CORES = workflow.resource_settings.cores or os.cpu_count()
# GPUs of one training, and how SLURM starts its processes if they run on several nodes; a node's
# own processes are started by the training itself.
PER_NODE = 1 if CONFIG.train.devices == "auto" else CONFIG.train.devices
TRAIN_RESOURCES = {"gpu": PER_NODE * CONFIG.train.nodes}
LAUNCHER = ""
if TRAIN_RESOURCES["gpu"] > 1:
    # SLURM would spread several GPUs over any number of nodes.
    TRAIN_RESOURCES["nodes"] = CONFIG.train.nodes
if CONFIG.train.nodes > 1:
    # With tasks_per_gpu, the executor would ask for as many tasks on every GPU.
    TRAIN_RESOURCES |= {
        "tasks": TRAIN_RESOURCES["gpu"],
        "mpi": "srun",
        "tasks_per_gpu": 0,
    }
    LAUNCHER = (
        f"srun --nodes={CONFIG.train.nodes} --ntasks-per-node={PER_NODE} --cpu-bind=none "
        "--kill-on-bad-exit=1 "
    )

# Cores of a training or a prediction: all of a node's, or what this machine gives one.
DETECTOR_CORES = ALL_CORES
executor = workflow.executor_plugin
on_cluster = workflow.remote_exec or (
    executor is not None and executor.common_settings.non_local_exec
)
if PER_NODE == 1 and not on_cluster:
    DETECTOR_CORES = training_cores(ALL_CORES)

# What each of them runs, a module of the package with the options that `step` and `files` return.
STEP = "python -m {params.step} {params.files} --log {log:q}"

# Steps run with the interpreter that runs Snakemake, whether or not its environment is active; in a
# rule's own environment (workflow/envs) with its interpreter, and with this package.
if workflow.deployment_settings.deployment_method:
    shell.prefix(f'export PYTHONPATH="{Path(errors.__file__).parents[1]}"; ')
else:
    shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')

# Where a step's process keeps the private detail of its error, for `dsnet why`.
os.environ[errors.FAILURES] = str(errors.failures_file(CONFIG.private).absolute())

# SLURM announces the end of a job's time to all processes of a step: the training then saves and
# is put back into the queue, and Snakemake and the shells around it must live until it did.
if workflow.remote_exec and "SLURM_JOB_ID" in os.environ:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

# OpenMP's threads wait awake for some microseconds: that is 15 % faster where cores are free, and half
# as fast where something else wants them.
if hasattr(os, "getloadavg"):
    idle = os.getloadavg()[0] < 0.75 * os.cpu_count()
    os.environ.setdefault("GOMP_SPINCOUNT", "20000" if idle else "0")


wildcard_constraints:
    backbone="|".join(get_args(Backbone)),
    attention="|".join(get_args(Attention)),
    seed=r"\d+",


def options(name, value):
    """Return the options of a step's parameter: one for each item of a list."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"--{name.replace('_', '-')}={one}" for one in values]


def of_external(key, wildcards_of_job):
    """Return a folder of the external cohort that a job is of: `key` of its config."""
    return getattr(CONFIG.of_external(wildcards_of_job.external), key)


def filled(key, value, wildcards_of_job):
    """Return a value with a job's wildcards put in; a function is called with `key` and them."""
    if callable(value):
        return value(key, wildcards_of_job)
    return value.format(**wildcards_of_job) if isinstance(value, str) else value


def step(module, *sections, wildcards=(), **values):
    """Return a params function: what a rule runs, and all that it depends on but files.

    A plain param, so that Snakemake records it: the rule runs again when its sections of the
    config, its values or the digest of its source change.

    `module` is below the package, such as ``split.step``, with the step's name behind it where it
    holds several: ``tables.clinical agree``. `sections` are sections of the config, passed under
    their own names or, as ``option:section``, under another one; `wildcards` are those that the
    step has parameters for. A value may hold wildcards in braces, or be a function of its key and
    the job's wildcards.
    """
    name, *step_name = f"dsnet.{module}".split()

    def command(wildcards_of_job):
        words = [name, *step_name, f"--code={source_digest(name)}"]
        for section in sections:
            option, _, key = section.rpartition(":")
            words += options(option or key, SECTIONS[key])
        for wildcard in wildcards:
            words += options(wildcard, wildcards_of_job[wildcard])
        for key, value in values.items():
            words += options(key, filled(key, value, wildcards_of_job))
        return shlex.join(words)

    return command


def files(wildcards, input, output):
    """Return a step's options for the files of its rule.

    Those named `needs` or `written` are not passed: the step finds them in a folder that it is
    given.
    """
    named = [*input.items(), *output.items()]
    words = [
        word
        for name, value in named
        if name not in ("needs", "written")
        for word in options(name, value)
    ]
    return shlex.join(words)


# Sections of the config as JSON. A training sees no seeds but its own: another one trains no old
# one again; nor does the split see how often it is repeated.
SECTIONS = {
    **{name: getattr(CONFIG, name).model_dump_json() for name in CONFIG.sections()},
    "train": CONFIG.train.model_dump_json(exclude={"seeds"}),
    "split": CONFIG.split.model_dump_json(exclude={"repeats", "learning_curve"}),
    "config": CONFIG.model_dump_json(),
}


def cohort_marker(cohort=CONFIG.cohort):
    """Return the file of a cohort that the plan may name; slices and tables may name patients."""
    if cohort.as_posix() == PHANTOM:
        return f"{PHANTOM}/cohort.json"
    pointer = cohort.with_name(f"{cohort.name}.dvc")
    return pointer.as_posix() if pointer.exists() else []


def cohort_state(cohort):
    """Return what changes when a cohort does; spawned jobs, which plan nothing, do not look."""
    if not workflow.is_main_process:
        return ""
    if cohort.path.as_posix() == PHANTOM and (
        not cohort.path.exists() or is_pristine(cohort, Path(PHANTOM_ANSWERS))
    ):
        return "as generated"
    return cohort.fingerprint() if cohort.path.exists() else "absent"


COHORT_STATE = cohort_state(COHORT)
EXTERNAL_STATES = {
    name: cohort_state(CohortFolder(path)) for name, path in CONFIG.external.items()
}
# Sections of the config that rule match depends on.
MATCH_SECTIONS = ("annotations", "dxa", "clinical", "label")


def slices(name):
    """Return an input function: a file of the slice store, through the checkpoint.

    What comes after the checkpoint is planned again once the digest is known, so that a cohort
    that changed without changing one included slice trains nothing again.
    """
    return lambda wildcards: getattr(checkpoints.slices.get().output, name)


def split_of_slices(wildcards):
    """Return the split, once the slices that it splits are stored."""
    checkpoints.slices.get()
    return f"{TABLES}/split.csv"


def of_first_seed(name, variants):
    """Return a file of each variant's training with the first seed, as size and speed need."""
    return [f"{RESULTS}/models/{variant}/seed{SEEDS[0]}/{name}" for variant in variants]


def metrics_of(methods):
    """Return the metrics of detectors or baselines."""
    return [f"{RESULTS}/metrics/{method}.json" for method in methods]


def recorded_files(variants, *plots):
    """Return the metrics and plots that DVC shows."""
    names = [f"{'_'.join(Path(variant).parts)}.json" for variant in variants]
    return [
        f"{RESULTS}/recorded/{name}"
        for name in [*names, *(f"{plot}.csv" for plot in plots)]
    ]


def figure_files(*names):
    """Return the files of figures: picture, drawing and caption."""
    return expand(
        f"{RESULTS}/figures/{{name}}.{{kind}}", name=names, kind=("png", "svg", "json")
    )


def cohort_tables():
    """Return what the steps from ingest to split write of every file and patient."""
    names = (
        "source.json",
        "index.parquet",
        "annotations.csv",
        "exams.csv",
        "patients.csv",
        "ledger.csv",
        "exclusions.csv",
        "flow.json",
        "labels.csv",
        "split.csv",
        "split_proof.json",
    )
    return [f"{TABLES}/{name}" for name in names]


# Tables and figures on the report's page, and all that is made without being asked for by name.
REPORTED = [
    f"{RESULTS}/{name}.csv"
    for name in (
        "table1",
        "table2",
        "table3",
        "differences",
        "leakage",
        "subgroups",
        "decision",
        "agreement",
        "sample_size",
        *(["external"] if CONFIG.external else []),
        *(["repeats"] if REPEATED_SPLITS else []),
        *(["learning_curve"] if TRAINING_SHARES else []),
    )
] + figure_files(*FIGURES)
EVERYTHING = REPORTED + [
    f"{RESULTS}/{name}"
    for name in (
        "report.html",
        "checklist.md",
        "claims.md",
        "cohort/contact_sheet.html",
        "cohort/flow.png",
        "predictions/ground_truth.json",
    )
]


def tell_failures():
    """Print the errors of this run's steps."""
    print(
        errors.failures_summary(errors.read_failures(CONFIG.private)),
        end="",
        file=sys.stderr,
    )


def tell_what_may_not_run():
    """Say after a dry run that a change of the cohort need not lead to trainings."""
    if not workflow.dryrun or workflow.dag is None:
        return
    rules_due = {
        job.rule.name for job in workflow.dag.needrun_jobs(exclude_finished=False)
    }
    trained = Path(f"{TABLES}/slices.json").exists()
    if trained and "slices" in rules_due and rules_due & {"train", "trial_train"}:
        print(
            "dsnet: trainings and what follows from them are listed since the slices are made "
            "again; they run only if an included image, box, class or subset then differs.",
            file=sys.stderr,
        )


if workflow.is_main_process:
    atexit.register(tell_what_may_not_run)


def force_what_failed():
    """Start Snakemake again with --forcerun, where a step of the cohort failed last time.

    Such a step takes its old outputs with it, and Snakemake makes no file again that is missing
    between others: it would find nothing to do, and leave a table of the older cohort.
    """
    missing = [path for path in cohort_tables() if not Path(path).exists()]
    by_user = Path(sys.argv[0]).stem in ("snakemake", "__main__")
    forced = {"--forcerun", "-R", "--touch", "-t"} & set(sys.argv)
    if missing and by_user and not forced and Path(f"{TABLES}/slices.json").exists():
        words = sys.argv[1:]
        end = words.index("--") if "--" in words else len(words)
        words[end:end] = ["--forcerun", *missing]
        os.execv(sys.executable, [sys.executable, "-m", "snakemake", *words])


def drop_what_is_behind():
    """Delete what this run was to make again from the outputs of a step that failed.

    Snakemake deletes the outputs of that step, and makes no file again that is missing between
    others: an older table would count as up to date. Trainings stay: they depend on slices alone,
    and a step of the cohort that failed is forced (`force_what_failed`).
    """
    due = [job for job in workflow.dag.needrun_jobs() if "train" not in job.rule.name]
    cohort = set(cohort_tables())
    gone = {
        str(path)
        for job in workflow.dag.needrun_jobs()
        for path in job.output
        if not cohort & set(map(str, job.output)) and not Path(path).exists()
    }
    while behind := [job for job in due if gone & set(map(str, job.input))]:
        due = [job for job in due if job not in behind]
        for path in (str(path) for job in behind for path in job.output):
            Path(path).unlink(missing_ok=True)
            gone.add(path)


def check_stage():
    """Stop where DVC runs the demo's stage beside a config of one's own."""
    stage = os.environ.get("DVC_STAGE", "own/")
    if LOCAL.exists() and not stage.startswith("own/"):
        raise UserError(
            f"DVC stage {stage}",
            expected="the demo's config alone",
            came=f"{LOCAL.as_posix()}, which names your own cohort",
            remedy="run dvc repro own/dvc.yaml, or move that file away for the demo",
        )


def check_cohort():
    """Stop before anything is planned if the cohort is not the one that the results are of."""
    if not IS_PHANTOM and not (CONFIG.results / SOURCE).exists():
        COHORT.check()
    for near in () if IS_PHANTOM else {known for _, known in COHORT.strangers()}:
        if COHORT.lacks(near):
            raise UserError(
                "cohort folder",
                expected=f"an entry {near}",
                came="one whose name is nearly so",
                remedy=f"rename it to {near}",
            )
        if near:
            print(
                f"dsnet: the cohort folder holds an entry that is nearly called {near}, and that "
                "is not read: see dsnet check.",
                file=sys.stderr,
            )
    # The phantom is made by the workflow: another seed simply makes other results.
    if not IS_PHANTOM or (
        (CONFIG.results / SOURCE).exists()
        and read_source(CONFIG.results).phantom_seed is None
    ):
        check_source(CONFIG.results, CONFIG.private, COHORT.path)
    for own in map(CONFIG.of_external, CONFIG.external):
        if not (own.results / SOURCE).exists():
            CohortFolder(own.cohort).check()
        check_source(own.results, own.private, own.cohort)


def check_there():
    """Stop before the index of a cohort is deleted that is not there to be read again.

    With --touch, as dsnet adopt calls it, nothing is deleted or read.
    """
    due = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if not (IS_PHANTOM or workflow.touch) and due & {"ingest", "ingest_shard"}:
        COHORT.check()


def dvc_says(*command):
    """Return what a DVC command answers as JSON, or None if it ends with an error."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout or "{}") if done.returncode == 0 else None


def check_pointer(cohort):
    """Stop if a cohort differs from what its DVC pointer says.

    Not inside ``dvc repro``, which sets DVC_STAGE, holds DVC's lock and has just looked itself.
    """
    pointer = cohort_marker(cohort)
    if (
        cohort.as_posix() == PHANTOM
        or not pointer
        or not cohort.exists()
        or "DVC_STAGE" in os.environ
    ):
        return
    changes = dvc_says("status", pointer)
    if "not in cache" in str(changes):  # then nothing is said of the folder itself
        answer = dvc_says("data", "status", cohort.as_posix()) or {}
        changes = answer.get("uncommitted", {}) if "not_in_cache" in answer else None
    if changes is None:
        print(
            f"dsnet: DVC did not compare the cohort with {pointer}, as where another DVC command "
            "holds its lock; going on.",
            file=sys.stderr,
        )
    elif changes:
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


if workflow.is_main_process:
    force_what_failed()
    checked(check_stage)
    checked(check_cohort)
    for path in (CONFIG.cohort, *CONFIG.external.values()):
        checked(check_pointer, path)
    checked(check_results)
