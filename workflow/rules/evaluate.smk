rule predict:
    """Write the detections of one detector on the test and validation subsets."""
    input:
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        test=f"{RESULTS}/predictions/{RUN}/test.parquet",
        validation=f"{RESULTS}/predictions/{RUN}/validation.parquet",
        coco_results=f"{RESULTS}/predictions/{RUN}/coco_results.json",
    log:
        f"logs/predict/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/predict/{RUN}.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: DETECTOR_CORES
    resources:
        gpu=1,
    params:
        step=step("inference.step", "detector", variant=VARIANT),
        files=files,
    shell:
        STEP


# On request: false boxes of one training on slices without L1 to L4.
rule predict_negatives:
    """Count the false boxes on test slices that are known to show no body of L1 to L4."""
    input:
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
        test=f"{RESULTS}/predictions/{RUN}/test.parquet",
        store=f"{TABLES}/negatives.npy",
        table=f"{TABLES}/negatives.csv",
    output:
        report=f"{RESULTS}/predictions/{RUN}/negatives.json",
    log:
        f"logs/predict_negatives/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/predict_negatives/{RUN}.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("inference.negatives", "detector", "evaluate", variant=VARIANT),
        files=files,
    shell:
        STEP


rule ground_truth:
    """Write the ground truth of the test subset for a recomputation of AP with pycocotools."""
    input:
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        truth=f"{RESULTS}/predictions/ground_truth.json",
    log:
        "logs/ground_truth.log",
    benchmark:
        f"{BENCHMARKS}/ground_truth.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("evaluate.coco"),
        files=files,
    shell:
        STEP


rule evaluate:
    """Turn one detector's predictions with all seeds into numbers with intervals."""
    input:
        needs=expand(
            f"{RESULTS}/predictions/{VARIANT}/seed{{seed}}/test.parquet",
            seed=SEEDS,
            allow_missing=True,
        ),
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        metrics=f"{RESULTS}/metrics/{VARIANT}.json",
    log:
        f"logs/evaluate/{VARIANT}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{VARIANT}.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "evaluate.step",
            "params:evaluate",
            seeds=SEEDS,
            predictions=f"{RESULTS}/predictions/{VARIANT}",
        ),
        files=files,
    shell:
        STEP


rule compare:
    """Set each attention against none on the same patients, Holm-corrected."""
    input:
        needs=expand(
            f"{RESULTS}/predictions/{{variant}}/seed{{seed}}/test.parquet",
            variant=DETECTORS,
            seed=SEEDS,
        ),
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        differences=report(
            f"{RESULTS}/differences.csv",
            caption="../report/differences.rst",
            category="Tables",
        ),
    log:
        "logs/compare.log",
    benchmark:
        f"{BENCHMARKS}/compare.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "evaluate.compare",
            "params:evaluate",
            variants=DETECTORS,
            seeds=SEEDS,
            predictions=f"{RESULTS}/predictions",
        ),
        files=files,
    shell:
        STEP


rule subgroups:
    """Evaluate by sex, age, vendor, kernel, slice thickness and tube voltage of the patients."""
    input:
        needs=expand(
            f"{RESULTS}/predictions/{{variant}}/seed{{seed}}/test.parquet",
            variant=SUBGROUP_DETECTORS,
            seed=SEEDS,
        ),
        digest=slices("digest"),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
        labels=f"{TABLES}/labels.csv",
        index=f"{TABLES}/index.parquet",
        patients=f"{TABLES}/patients.csv",
    output:
        table=report(
            f"{RESULTS}/subgroups.csv",
            caption="../report/subgroups.rst",
            category="Tables",
        ),
    log:
        "logs/subgroups.log",
    benchmark:
        f"{BENCHMARKS}/subgroups.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "evaluate.subgroups",
            "params:evaluate",
            "report",
            variants=SUBGROUP_DETECTORS,
            seeds=SEEDS,
            predictions=f"{RESULTS}/predictions",
        ),
        files=files,
    shell:
        STEP


rule speed:
    """Time all detectors of Table 1 in turn, in one process."""
    input:
        weights=of_first_seed("weights.pt", TABLE1),
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
    output:
        speed=f"{RESULTS}/speed.json",
    log:
        "logs/speed.log",
    benchmark:
        f"{BENCHMARKS}/speed.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        step=step("inference.speed", "detector", variants=TABLE1, **SPEED),
        files=files,
    shell:
        STEP


# The detectors of every table: a run of its own, since ratios hold within one run only, and Table 1
# alone must not wait for the others to be trained.
use rule speed as speed_all with:
    input:
        weights=of_first_seed("weights.pt", DETECTORS),
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
    output:
        speed=f"{RESULTS}/speed_all.json",
    log:
        "logs/speed_all.log",
    benchmark:
        f"{BENCHMARKS}/speed_all.tsv"
    params:
        step=step("inference.speed", "detector", variants=DETECTORS, **SPEED),
        files=files,
