rule table1:
    """Set ResNet50 with each attention beside the paper's figures."""
    input:
        needs=[*metrics_of(TABLE1), *of_first_seed("manifest.json", TABLE1)],
        speed=f"{RESULTS}/speed.json",
    output:
        table=report(
            f"{RESULTS}/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
        ),
        summary=f"{RESULTS}/metrics.json",
    log:
        "logs/table1.log",
    benchmark:
        f"{BENCHMARKS}/table1.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("tables.detectors tabulate", variants=TABLE1, seeds=SEEDS, **FOLDERS),
        files=files,
    shell:
        STEP


# Each backbone without and with DS.
use rule table1 as table2 with:
    input:
        needs=[*metrics_of(TABLE2), *of_first_seed("manifest.json", TABLE2)],
        speed=f"{RESULTS}/speed_all.json",
    output:
        table=report(
            f"{RESULTS}/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
        ),
        summary=f"{RESULTS}/table2.json",
    log:
        "logs/table2.log",
    benchmark:
        f"{BENCHMARKS}/table2.tsv"
    params:
        step=step("tables.detectors tabulate", variants=TABLE2, seeds=SEEDS, **FOLDERS),
        files=files,


rule recorded:
    """Write what `dvc metrics show` and `dvc plots show` show of Table 1."""
    input:
        needs=[
            *metrics_of(TABLE1),
            *expand(
                f"{RESULTS}/models/{{variant}}/seed{SEEDS[0]}/history.csv",
                variant=TABLE1,
            ),
        ],
    output:
        written=recorded_files(TABLE1, "learning", "precision_recall", "calibration"),
    log:
        "logs/recorded.log",
    benchmark:
        f"{BENCHMARKS}/recorded.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.detectors record",
            variants=TABLE1,
            seeds=SEEDS,
            folder=f"{RESULTS}/recorded",
            **FOLDERS,
        ),
        files=files,
    shell:
        STEP


rule pipeline:
    """Make what the DVC stage of this name records: Table 1, and all of the cohort's folder."""
    input:
        f"{RESULTS}/table1.csv",
        rules.recorded.output.written,
        f"{TABLES}/flow.png",
        f"{TABLES}/thumbnails.parquet",
        f"{TABLES}/contact_sheet.html",
    localrule: True


rule table3:
    """Set what was measured beside the literature as the paper reports it."""
    input:
        needs=metrics_of(TABLE3),
        digest=slices("digest"),
    output:
        table=report(
            f"{RESULTS}/table3.csv",
            caption="../report/table3.rst",
            category="Tables",
        ),
    log:
        "logs/table3.log",
    benchmark:
        f"{BENCHMARKS}/table3.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("tables.literature", variants=TABLE3, metrics=f"{RESULTS}/metrics"),
        files=files,
    shell:
        STEP


rule claims:
    """Write for each printed claim its method and its assumption."""
    input:
        needs=metrics_of([*DETECTORS, *CLAIMED_BASELINES]),
        differences=f"{RESULTS}/differences.csv",
        leakage=f"{RESULTS}/leakage.csv",
        speed=f"{RESULTS}/speed_all.json",
    output:
        claims=f"{RESULTS}/claims.md",
    log:
        "logs/claims.log",
    benchmark:
        f"{BENCHMARKS}/claims.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.claims",
            variants=DETECTORS,
            baselines=CLAIMED_BASELINES,
            metrics=f"{RESULTS}/metrics",
        ),
        files=files,
    shell:
        STEP


rule clinical:
    """Write net benefit against DXA for all and for none, and the sample-size statement."""
    input:
        needs=metrics_of(CLINICAL_METHODS),
    output:
        decision=report(
            f"{RESULTS}/decision.csv",
            caption="../report/decision.rst",
            category="Tables",
        ),
        sample_size=report(
            f"{RESULTS}/sample_size.csv",
            caption="../report/sample_size.rst",
            category="Tables",
        ),
    log:
        "logs/clinical.log",
    benchmark:
        f"{BENCHMARKS}/clinical.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "tables.clinical tabulate",
            variants=CLINICAL_METHODS,
            metrics=f"{RESULTS}/metrics",
        ),
        files=files,
    shell:
        STEP
