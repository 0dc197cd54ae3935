# A variation is the same slices under another split (split1, split2 ...) or with a share of the
# training patients (share25 ...), in a folder of its own. Both are off unless the config asks for
# them (split.repeats, split.learning_curve).
VARIED = f"{RESULTS}/repeats/{{variation}}"
VARIED_LOG = "logs/repeats/{variation}"
VARIED_BENCHMARKS = f"{BENCHMARKS}/repeats/{{variation}}"
VARIED_FILES = {
    "digest": f"{VARIED}/slices.json",
    "store": ancient(slices("store")),
    "boxes": ancient(slices("boxes")),
    "split": ancient(f"{VARIED}/split.csv"),
}
VARIED_METRICS = f"{RESULTS}/repeats/{{variation}}/metrics/{LEAKAGE_DETECTOR}.json"


wildcard_constraints:
    variation=r"(split|share)\d+",


rule varied:
    """Write split and digest of a variation."""
    input:
        labels=ancient(f"{TABLES}/labels.csv"),
        index=ancient(f"{TABLES}/index.parquet"),
        split=ancient(split_of_slices),
        digest=slices("digest"),
    output:
        varied_split=f"{VARIED}/split.csv",
        varied_digest=f"{VARIED}/slices.json",
    log:
        f"{VARIED_LOG}/varied.log",
    benchmark:
        f"{VARIED_BENCHMARKS}/varied.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("split.repeats", "params:split", wildcards=("variation",)),
        files=files,
    shell:
        STEP


use rule train as varied_train with:
    input:
        **VARIED_FILES,
    output:
        weights=f"{VARIED}/models/{RUN}/weights.pt",
        history=f"{VARIED}/models/{RUN}/history.csv",
        manifest=f"{VARIED}/models/{RUN}/manifest.json",
    log:
        f"{VARIED_LOG}/train/{RUN}.log",
    benchmark:
        f"{VARIED_BENCHMARKS}/train/{RUN}.tsv"
    params:
        checkpoints=f"--checkpoints={RESULTS}/checkpoints/repeats/{{variation}}/{RUN}",


use rule predict as varied_predict with:
    input:
        **VARIED_FILES,
        weights=f"{VARIED}/models/{RUN}/weights.pt",
    output:
        test=f"{VARIED}/predictions/{RUN}/test.parquet",
        validation=f"{VARIED}/predictions/{RUN}/validation.parquet",
        coco_results=f"{VARIED}/predictions/{RUN}/coco_results.json",
    log:
        f"{VARIED_LOG}/predict/{RUN}.log",
    benchmark:
        f"{VARIED_BENCHMARKS}/predict/{RUN}.tsv"


use rule evaluate as varied_evaluate with:
    input:
        needs=f"{VARIED}/predictions/{VARIANT}/seed{SEEDS[0]}/test.parquet",
        digest=VARIED_FILES["digest"],
        boxes=VARIED_FILES["boxes"],
        split=VARIED_FILES["split"],
    output:
        metrics=f"{VARIED}/metrics/{{backbone}}/{{attention}}.json",
    log:
        f"{VARIED_LOG}/evaluate/{{backbone}}/{{attention}}.log",
    benchmark:
        f"{VARIED_BENCHMARKS}/evaluate/{{backbone}}/{{attention}}.tsv"
    params:
        step=step(
            "evaluate.step",
            "params:evaluate",
            seeds=SEEDS[:1],
            predictions=f"{VARIED}/predictions/{VARIANT}",
        ),
        files=files,


rule repeats:
    """Give the spread of one detector's figures over repeated splits."""
    input:
        needs=[
            *metrics_of([LEAKAGE_DETECTOR]),
            *expand(VARIED_METRICS, variation=REPEATED_SPLITS),
        ],
        split=ancient(split_of_slices),
    output:
        table=report(
            f"{RESULTS}/repeats.csv",
            caption="../report/repeats.rst",
            category="Tables",
        ),
    log:
        "logs/repeats.log",
    benchmark:
        f"{BENCHMARKS}/repeats.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.other_data tabulate-repeats",
            detector=LEAKAGE_DETECTOR,
            variations=REPEATED_SPLITS,
            metrics=f"{RESULTS}/metrics",
            folder=f"{RESULTS}/repeats",
            summary="spread",
        ),
        files=files,
    shell:
        STEP


use rule repeats as learning_curve with:
    input:
        needs=[
            *metrics_of([LEAKAGE_DETECTOR]),
            *expand(VARIED_METRICS, variation=TRAINING_SHARES),
        ],
        split=ancient(split_of_slices),
    output:
        table=report(
            f"{RESULTS}/learning_curve.csv",
            caption="../report/learning_curve.rst",
            category="Tables",
        ),
    log:
        "logs/learning_curve.log",
    benchmark:
        f"{BENCHMARKS}/learning_curve.tsv"
    params:
        step=step(
            "tables.other_data tabulate-repeats",
            detector=LEAKAGE_DETECTOR,
            variations=TRAINING_SHARES,
            metrics=f"{RESULTS}/metrics",
            folder=f"{RESULTS}/repeats",
        ),
