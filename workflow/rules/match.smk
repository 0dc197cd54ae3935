rule match:
    """Say which annotation, exam, history and decision belongs to which file and patient."""
    input:
        source=f"{TABLES}/source.json",
        index=f"{TABLES}/index.parquet",
    output:
        boxes=f"{TABLES}/annotations.csv",
        exams=f"{TABLES}/exams.csv",
        patients=f"{TABLES}/patients.csv",
        decisions=f"{TABLES}/decisions.csv",
    log:
        "logs/match.log",
    benchmark:
        f"{BENCHMARKS}/match.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "match.step",
            *MATCH_SECTIONS,
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
        state=COHORT_STATE,
    shell:
        STEP
