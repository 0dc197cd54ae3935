# A trial is the same slices under another split or other training labels, in a folder of its own:
# {trial} is LEAKY/true (split by image), patient/shuffled (training labels shuffled) or, for the HU
# models alone, LEAKY/shuffled. Steps and store are those of the honest run.
TRIAL = f"{RESULTS}/leakage/{{trial}}"
TRIAL_LOG = "logs/leakage/{trial}"
TRIAL_BENCHMARKS = f"{BENCHMARKS}/leakage/{{trial}}"
LEAKY_TRUE = f"{RESULTS}/leakage/LEAKY/true"
LEAKAGE_DETECTOR = (
    f"{CONFIG.leakage.detector.backbone}/{CONFIG.leakage.detector.attention}"
)
TRIAL_FILES = {
    "digest": f"{TRIAL}/slices.json",
    "store": ancient(slices("store")),
    "boxes": ancient(f"{TRIAL}/slices.csv"),
    "split": ancient(f"{TRIAL}/split.csv"),
}


wildcard_constraints:
    trial="LEAKY/true|patient/shuffled",


rule trial:
    """Write boxes, split and digest of a trial."""
    input:
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        trial_boxes=f"{TRIAL}/slices.csv",
        trial_split=f"{TRIAL}/split.csv",
        trial_digest=f"{TRIAL}/slices.json",
    log:
        f"{TRIAL_LOG}/trial.log",
    benchmark:
        f"{TRIAL_BENCHMARKS}/trial.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("leakage", "params:leakage", "splitting:split", wildcards=("trial",)),
        files=files,
    shell:
        STEP


use rule train as trial_train with:
    input:
        **TRIAL_FILES,
    output:
        weights=f"{TRIAL}/models/{RUN}/weights.pt",
        history=f"{TRIAL}/models/{RUN}/history.csv",
        manifest=f"{TRIAL}/models/{RUN}/manifest.json",
    log:
        f"{TRIAL_LOG}/train/{RUN}.log",
    benchmark:
        f"{TRIAL_BENCHMARKS}/train/{RUN}.tsv"
    params:
        checkpoints=f"--checkpoints={RESULTS}/checkpoints/leakage/{{trial}}/{RUN}",


use rule predict as trial_predict with:
    input:
        **TRIAL_FILES,
        weights=f"{TRIAL}/models/{RUN}/weights.pt",
    output:
        test=f"{TRIAL}/predictions/{RUN}/test.parquet",
        validation=f"{TRIAL}/predictions/{RUN}/validation.parquet",
        coco_results=f"{TRIAL}/predictions/{RUN}/coco_results.json",
    log:
        f"{TRIAL_LOG}/predict/{RUN}.log",
    benchmark:
        f"{TRIAL_BENCHMARKS}/predict/{RUN}.tsv"


use rule evaluate as trial_evaluate with:
    input:
        needs=f"{TRIAL}/predictions/{VARIANT}/seed{SEEDS[0]}/test.parquet",
        digest=TRIAL_FILES["digest"],
        boxes=TRIAL_FILES["boxes"],
        split=TRIAL_FILES["split"],
    output:
        metrics=f"{TRIAL}/metrics/{{backbone}}/{{attention}}.json",
    log:
        f"{TRIAL_LOG}/evaluate/{{backbone}}/{{attention}}.log",
    benchmark:
        f"{TRIAL_BENCHMARKS}/evaluate/{{backbone}}/{{attention}}.tsv"
    params:
        step=step(
            "evaluate.step",
            "params:evaluate",
            seeds=SEEDS[:1],
            predictions=f"{TRIAL}/predictions/{VARIANT}",
        ),
        files=files,


use rule baseline as leaky_baseline with:
    input:
        digest=f"{LEAKY_TRUE}/slices.json",
        store=ancient(slices("store")),
        boxes=f"{LEAKY_TRUE}/slices.csv",
        split=f"{LEAKY_TRUE}/split.csv",
    output:
        features=f"{LEAKY_TRUE}/features.csv",
        model=f"{LEAKY_TRUE}/model.json",
        written=[f"{LEAKY_TRUE}/metrics/hu/{method}.json" for method in HU_METHODS],
    log:
        "logs/leakage/LEAKY/true/baseline.log",
    benchmark:
        f"{BENCHMARKS}/leakage/LEAKY/true/baseline.tsv"
    params:
        step=step(
            "baseline.step",
            "params:baseline",
            "evaluation:evaluate",
            metrics=f"{LEAKY_TRUE}/metrics/hu",
        ),
        files=files,


rule nearest:
    """Grade by the nearest training image's label: what a model that only remembers would reach."""
    input:
        features=f"{RESULTS}/baseline/features.csv",
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        metrics=f"{RESULTS}/metrics/hu/nearest.json",
    log:
        "logs/nearest.log",
    benchmark:
        f"{BENCHMARKS}/nearest.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("baseline.controls grade-nearest", "evaluation:evaluate"),
        files=files,
    shell:
        STEP


use rule nearest as leaky_nearest with:
    input:
        features=f"{LEAKY_TRUE}/features.csv",
        digest=f"{LEAKY_TRUE}/slices.json",
        boxes=f"{LEAKY_TRUE}/slices.csv",
        split=f"{LEAKY_TRUE}/split.csv",
    output:
        metrics=f"{LEAKY_TRUE}/metrics/hu/nearest.json",
    log:
        "logs/leakage/LEAKY/true/nearest.log",
    benchmark:
        f"{BENCHMARKS}/leakage/LEAKY/true/nearest.tsv"


rule control:
    """Let the HU models learn shuffled labels, under the split by patient."""
    input:
        features=f"{RESULTS}/baseline/features.csv",
        digest=slices("digest"),
        split=ancient(split_of_slices),
    output:
        written=expand(
            f"{RESULTS}/leakage/patient/shuffled/metrics/hu/{{method}}.json",
            method=("multinomial", "nearest"),
        ),
    log:
        "logs/leakage/patient/shuffled/control.log",
    benchmark:
        f"{BENCHMARKS}/leakage/patient/shuffled/control.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "baseline.controls control",
            "params:leakage",
            "evaluation:evaluate",
            metrics=f"{RESULTS}/leakage/patient/shuffled/metrics/hu",
        ),
        files=files,
    shell:
        STEP


use rule control as leaky_control with:
    input:
        features=f"{LEAKY_TRUE}/features.csv",
        digest=f"{LEAKY_TRUE}/slices.json",
        split=f"{LEAKY_TRUE}/split.csv",
    output:
        written=expand(
            f"{RESULTS}/leakage/LEAKY/shuffled/metrics/hu/{{method}}.json",
            method=("multinomial", "nearest"),
        ),
    log:
        "logs/leakage/LEAKY/shuffled/control.log",
    benchmark:
        f"{BENCHMARKS}/leakage/LEAKY/shuffled/control.tsv"
    params:
        step=step(
            "baseline.controls control",
            "params:leakage",
            "evaluation:evaluate",
            metrics=f"{RESULTS}/leakage/LEAKY/shuffled/metrics/hu",
        ),
        files=files,


rule leakage:
    """Set the split by image against the split by patient, and shuffled labels against true ones."""
    input:
        needs=[
            *metrics_of(["hu/multinomial", "hu/nearest", LEAKAGE_DETECTOR]),
            *expand(
                f"{RESULTS}/leakage/{{trial}}/metrics/{{method}}.json",
                trial=("LEAKY/true", "patient/shuffled"),
                method=("hu/multinomial", "hu/nearest", LEAKAGE_DETECTOR),
            ),
            *expand(
                f"{RESULTS}/leakage/LEAKY/shuffled/metrics/hu/{{method}}.json",
                method=("multinomial", "nearest"),
            ),
        ],
    output:
        table=report(
            f"{RESULTS}/leakage.csv",
            caption="../report/leakage.rst",
            category="Tables",
        ),
    log:
        "logs/leakage.log",
    benchmark:
        f"{BENCHMARKS}/leakage.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.other_data tabulate-leakage",
            metrics=f"{RESULTS}/metrics",
            trials=f"{RESULTS}/leakage",
            detector=LEAKAGE_DETECTOR,
        ),
        files=files,
    shell:
        STEP
