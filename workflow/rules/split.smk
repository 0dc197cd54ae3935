rule split:
    """Divide the patients into training, validation and test, and prove that nothing is shared."""
    input:
        labels=f"{TABLES}/labels.csv",
        index=f"{TABLES}/index.parquet",
        needs=CONFIG.split.file or [],
    output:
        split=f"{TABLES}/split.csv",
        proof=report(
            f"{TABLES}/split_proof.json",
            caption="../report/split.rst",
            category="Cohort",
        ),
    log:
        "logs/split.log",
    benchmark:
        f"{BENCHMARKS}/split.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("split.step", "params:split"),
        files=files,
    shell:
        STEP
