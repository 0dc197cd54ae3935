rule exclude:
    """Apply every criterion to every file, and say why it is in or out."""
    input:
        source=f"{TABLES}/source.json",
        index=f"{TABLES}/index.parquet",
        boxes=f"{TABLES}/annotations.csv",
        exams=f"{TABLES}/exams.csv",
        patients=f"{TABLES}/patients.csv",
        decisions=f"{TABLES}/decisions.csv",
    output:
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        flow=f"{TABLES}/flow.json",
    log:
        "logs/exclude.log",
    benchmark:
        f"{BENCHMARKS}/exclude.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("exclude.step", "exclude", "label"),
        files=files,
    shell:
        STEP
