rule deidentify:
    """Write the included slices as DICOM that identifies nobody; on request only."""
    input:
        index=f"{TABLES}/index.parquet",
        ledger=f"{TABLES}/ledger.csv",
    output:
        files=f"{RESULTS}/deidentified/files.csv",
        refused=f"{RESULTS}/deidentified/refused.csv",
    log:
        "logs/deidentify.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        code=modules("deidentify"),
        config=section("deidentify"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
    shell:
        "python -m dsnet.deidentify --params {params.config:q} --cohort {params.cohort:q}"
        " --private {params.private:q} --ledger {input.ledger:q} --files {output.files:q}"
        " --refused {output.refused:q} --log {log:q}"
