# Each external cohort goes through the rules of the cohort, from ingest to slices, in folders of its
# own: other files, the same steps and settings. What follows takes weights, temperatures and
# operating points of the internal cohort; nothing is trained, sampled or fitted.
EXTERNAL = f"{RESULTS}/external/{{external}}"
EXTERNAL_TABLES = f"{EXTERNAL}/cohort"
EXTERNAL_LOG = "logs/external/{external}"
EXTERNAL_FILES = {
    "digest": f"{EXTERNAL_TABLES}/slices.json",
    "store": ancient(f"{EXTERNAL_TABLES}/slices.npy"),
    "boxes": ancient(f"{EXTERNAL_TABLES}/slices.csv"),
    "split": ancient(f"{EXTERNAL_TABLES}/split.csv"),
}
EXTERNAL_METHODS = [*DETECTORS, "hu/thresholds", "hu/multinomial"]


wildcard_constraints:
    external="|".join(CONFIG.external) or "none",


use rule ingest as external_ingest with:
    input:
        needs=lambda wildcards: cohort_marker(CONFIG.external[wildcards.external]),
    output:
        index=f"{EXTERNAL_TABLES}/index.parquet",
        source=f"{EXTERNAL_TABLES}/source.json",
    log:
        f"{EXTERNAL_LOG}/ingest.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/ingest.tsv"
    params:
        step=step("ingest.step", "ingest", cohort=of_external, private=of_external),
        state=lambda wildcards: EXTERNAL_STATES[wildcards.external],


use rule match as external_match with:
    input:
        source=f"{EXTERNAL_TABLES}/source.json",
        index=f"{EXTERNAL_TABLES}/index.parquet",
    output:
        boxes=f"{EXTERNAL_TABLES}/annotations.csv",
        exams=f"{EXTERNAL_TABLES}/exams.csv",
        patients=f"{EXTERNAL_TABLES}/patients.csv",
        decisions=f"{EXTERNAL_TABLES}/decisions.csv",
    log:
        f"{EXTERNAL_LOG}/match.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/match.tsv"
    params:
        step=step(
            "match.step",
            *MATCH_SECTIONS,
            cohort=of_external,
            private=of_external,
        ),
        state=lambda wildcards: EXTERNAL_STATES[wildcards.external],


use rule exclude as external_exclude with:
    input:
        source=f"{EXTERNAL_TABLES}/source.json",
        index=f"{EXTERNAL_TABLES}/index.parquet",
        boxes=f"{EXTERNAL_TABLES}/annotations.csv",
        exams=f"{EXTERNAL_TABLES}/exams.csv",
        patients=f"{EXTERNAL_TABLES}/patients.csv",
        decisions=f"{EXTERNAL_TABLES}/decisions.csv",
    output:
        ledger=f"{EXTERNAL_TABLES}/ledger.csv",
        exclusions=f"{EXTERNAL_TABLES}/exclusions.csv",
        flow=f"{EXTERNAL_TABLES}/flow.json",
    log:
        f"{EXTERNAL_LOG}/exclude.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/exclude.tsv"


use rule label as external_label with:
    input:
        boxes=f"{EXTERNAL_TABLES}/annotations.csv",
        exams=f"{EXTERNAL_TABLES}/exams.csv",
        ledger=f"{EXTERNAL_TABLES}/ledger.csv",
    output:
        labels=f"{EXTERNAL_TABLES}/labels.csv",
    log:
        f"{EXTERNAL_LOG}/label.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/label.tsv"


rule external_split:
    """Make all patients of an external cohort test patients, none of them with internal images."""
    input:
        labels=f"{EXTERNAL_TABLES}/labels.csv",
        index=f"{EXTERNAL_TABLES}/index.parquet",
        internal=f"{TABLES}/index.parquet",
    output:
        split=f"{EXTERNAL_TABLES}/split.csv",
        proof=f"{EXTERNAL_TABLES}/split_proof.json",
    log:
        f"{EXTERNAL_LOG}/split.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/split.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("split.external", "params:split"),
        files=files,
    shell:
        STEP


rule external_slices:
    """Store the included slices of an external cohort on the grid of the internal one."""
    input:
        source=f"{EXTERNAL_TABLES}/source.json",
        index=f"{EXTERNAL_TABLES}/index.parquet",
        labels=f"{EXTERNAL_TABLES}/labels.csv",
        split=f"{EXTERNAL_TABLES}/split.csv",
    output:
        store=f"{EXTERNAL_TABLES}/slices.npy",
        boxes=f"{EXTERNAL_TABLES}/slices.csv",
        checks=f"{EXTERNAL_TABLES}/box_checks.csv",
        digest=f"{EXTERNAL_TABLES}/slices.json",
    log:
        f"{EXTERNAL_LOG}/slices.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/slices.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step(
            "slices.step",
            "slices",
            "dxa",
            cohort=of_external,
            private=of_external,
        ),
        files=files,
    shell:
        STEP


use rule predict as external_predict with:
    input:
        **EXTERNAL_FILES,
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
    output:
        test=f"{EXTERNAL}/predictions/{RUN}/test.parquet",
        coco_results=f"{EXTERNAL}/predictions/{RUN}/coco_results.json",
    log:
        f"{EXTERNAL_LOG}/predict/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/predict/{RUN}.tsv"


rule external_evaluate:
    """Evaluate one detector, as it was trained and calibrated here, on an external cohort."""
    input:
        needs=expand(
            [
                f"{EXTERNAL}/predictions/{VARIANT}/seed{{seed}}/test.parquet",
                f"{RESULTS}/models/{VARIANT}/seed{{seed}}/manifest.json",
            ],
            seed=SEEDS,
            allow_missing=True,
        ),
        internal=f"{RESULTS}/metrics/{VARIANT}.json",
        digest=EXTERNAL_FILES["digest"],
        boxes=EXTERNAL_FILES["boxes"],
        split=EXTERNAL_FILES["split"],
    output:
        metrics=f"{EXTERNAL}/metrics/{VARIANT}.json",
    log:
        f"{EXTERNAL_LOG}/evaluate/{VARIANT}.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/evaluate/{VARIANT}.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "evaluate.external",
            "params:evaluate",
            predictions=f"{EXTERNAL}/predictions/{VARIANT}",
            models=f"{RESULTS}/models/{VARIANT}",
        ),
        files=files,
    shell:
        STEP


use rule baseline as external_baseline with:
    input:
        **EXTERNAL_FILES,
        fitted_on=f"{RESULTS}/baseline/features.csv",
    output:
        features=f"{EXTERNAL}/baseline/features.csv",
        model=f"{EXTERNAL}/baseline/model.json",
        written=[f"{EXTERNAL}/metrics/hu/{method}.json" for method in HU_METHODS],
    log:
        f"{EXTERNAL_LOG}/baseline.log",
    benchmark:
        f"{BENCHMARKS}/external/{{external}}/baseline.tsv"
    params:
        step=step(
            "baseline.step",
            "params:baseline",
            "evaluation:evaluate",
            metrics=f"{EXTERNAL}/metrics/hu",
        ),


rule external:
    """Set internal and external figures side by side."""
    input:
        needs=[
            *metrics_of(EXTERNAL_METHODS),
            *expand(
                f"{EXTERNAL}/metrics/{{method}}.json",
                external=CONFIG.external,
                method=EXTERNAL_METHODS,
            ),
        ],
    output:
        table=report(
            f"{RESULTS}/external.csv",
            caption="../report/external.rst",
            category="Tables",
        ),
    log:
        "logs/external.log",
    benchmark:
        f"{BENCHMARKS}/external.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.other_data tabulate-external",
            variants=EXTERNAL_METHODS,
            cohorts=list(CONFIG.external),
            metrics=f"{RESULTS}/metrics",
            external=f"{RESULTS}/external",
        ),
        files=files,
    shell:
        STEP
