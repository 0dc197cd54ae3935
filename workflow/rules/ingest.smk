rule ingest:
    """Read every file of the cohort into one row of the index."""
    input:
        cohort=cohort_marker(),
    output:
        index=f"{TABLES}/index.parquet",
        source=f"{TABLES}/source.json",
    log:
        "logs/ingest.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        code=modules("ingest"),
        config=section("ingest"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
        state=cohort_state(),
    shell:
        "python -m dsnet.ingest --params {params.config:q} --cohort {params.cohort:q}"
        " --private {params.private:q} --index {output.index:q} --source {output.source:q}"
        " --log {log:q}"
