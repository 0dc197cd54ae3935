rule ingest:
    """Read every file of the cohort into one row of the index."""
    input:
        needs=cohort_marker(),
    output:
        index=f"{TABLES}/index.parquet",
        source=f"{TABLES}/source.json",
    log:
        "logs/ingest.log",
    benchmark:
        f"{BENCHMARKS}/ingest.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step("ingest.step", "ingest", cohort=CONFIG.cohort, private=CONFIG.private),
        files=files,
        state=COHORT_STATE,
    shell:
        STEP
