# What is written in results/metrics/hu (annotated boxes) and hu_detected (a detector's boxes).
HU_METHODS = ("thresholds", "balanced", "multinomial")
HU_DETECTOR = f"resnet50/none/seed{SEEDS[0]}"


rule baseline:
    """Grade the test subset by the HU in its annotated boxes, without a network."""
    input:
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
    output:
        features=f"{RESULTS}/baseline/features.csv",
        model=f"{RESULTS}/baseline/model.json",
        written=metrics_of(f"hu/{method}" for method in HU_METHODS),
    log:
        "logs/baseline.log",
    benchmark:
        f"{BENCHMARKS}/baseline.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "baseline.step",
            "params:baseline",
            "evaluation:evaluate",
            metrics=f"{RESULTS}/metrics/hu",
        ),
        files=files,
    shell:
        STEP


# The same in the boxes that the plain ResNet50 detector localised.
use rule baseline as baseline_detected with:
    input:
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
        detections=f"{RESULTS}/predictions/{HU_DETECTOR}/test.parquet",
    output:
        features=f"{RESULTS}/baseline/features_detected.csv",
        model=f"{RESULTS}/baseline/model_detected.json",
        written=metrics_of(f"hu_detected/{method}" for method in HU_METHODS),
    log:
        "logs/baseline_detected.log",
    benchmark:
        f"{BENCHMARKS}/baseline_detected.tsv"
    params:
        step=step(
            "baseline.step",
            "params:baseline",
            "evaluation:evaluate",
            metrics=f"{RESULTS}/metrics/hu_detected",
        ),
        files=files,


rule agreement:
    """Compare a T-score computed from HU with that of DXA."""
    input:
        features=f"{RESULTS}/baseline/features.csv",
        labels=f"{TABLES}/labels.csv",
        needs=expand(
            f"{RESULTS}/external/{{external}}/baseline/features.csv",
            external=CONFIG.external,
        ),
    output:
        table=report(
            f"{RESULTS}/agreement.csv",
            caption="../report/agreement.rst",
            category="Tables",
        ),
    log:
        "logs/agreement.log",
    benchmark:
        f"{BENCHMARKS}/agreement.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.clinical agree", results=RESULTS, cohorts=list(CONFIG.external)
        ),
        files=files,
    shell:
        STEP
