# Figures that follow from metrics alone.
CURVES = [
    "precision_recall",
    "roc",
    "calibration",
    "froc",
    "decision",
    "confusion_box",
    "confusion_level",
    "confusion_patient",
]


rule curves:
    """Draw what follows from the metrics alone: curves and confusion matrices."""
    input:
        needs=metrics_of([*TABLE1, *ROC_BASELINES]),
    output:
        written=figure_files(*CURVES),
    log:
        "logs/figures/curves.log",
    benchmark:
        f"{BENCHMARKS}/figures/curves.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "figures.curves",
            variants=TABLE1,
            baselines=ROC_BASELINES,
            metrics=f"{RESULTS}/metrics",
            folder=f"{RESULTS}/figures",
        ),
        files=files,
    shell:
        STEP


rule forest:
    """Draw each detector's map, and what attention adds to it, with intervals."""
    input:
        needs=[*metrics_of(DETECTORS), *of_first_seed("manifest.json", DETECTORS)],
        differences=f"{RESULTS}/differences.csv",
    output:
        written=figure_files("forest"),
    log:
        "logs/figures/forest.log",
    benchmark:
        f"{BENCHMARKS}/figures/forest.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "figures.trainings write-forest",
            variants=DETECTORS,
            seeds=SEEDS,
            models=f"{RESULTS}/models",
            metrics=f"{RESULTS}/metrics",
            folder=f"{RESULTS}/figures",
        ),
        files=files,
    shell:
        STEP


rule figure4:
    """Draw ground truth and detections on one test slice of each class."""
    input:
        needs=expand(
            f"{RESULTS}/predictions/{{variant}}/seed{SEEDS[0]}/test.parquet",
            variant=TABLE1,
        ),
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        written=figure_files("figure4"),
    log:
        "logs/figures/figure4.log",
    benchmark:
        f"{BENCHMARKS}/figures/figure4.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "figures.detections",
            variants=TABLE1,
            seed=SEEDS[0],
            score=CONFIG.evaluate.score,
            predictions=f"{RESULTS}/predictions",
            folder=f"{RESULTS}/figures",
        ),
        files=files,
    shell:
        STEP


rule learning:
    """Draw how the loss fell and the validation map rose."""
    input:
        needs=expand(
            f"{RESULTS}/models/{{variant}}/seed{{seed}}/history.csv",
            variant=DETECTORS,
            seed=SEEDS,
        ),
        digest=slices("digest"),
        split=ancient(split_of_slices),
    output:
        written=figure_files("learning"),
    log:
        "logs/figures/learning.log",
    benchmark:
        f"{BENCHMARKS}/figures/learning.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "figures.trainings write-learning",
            variants=DETECTORS,
            seeds=SEEDS,
            models=f"{RESULTS}/models",
            folder=f"{RESULTS}/figures",
        ),
        files=files,
    shell:
        STEP


rule patients:
    """Draw how many patients and slices each subset has of each class."""
    input:
        digest=slices("digest"),
        split=ancient(split_of_slices),
    output:
        written=figure_files("patients"),
    log:
        "logs/figures/patients.log",
    benchmark:
        f"{BENCHMARKS}/figures/patients.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("figures.trainings write-patients", folder=f"{RESULTS}/figures"),
        files=files,
    shell:
        STEP
