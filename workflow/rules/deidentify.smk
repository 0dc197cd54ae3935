rule deidentify:
    """Write the included slices as DICOM without identity; on request only."""
    input:
        source=f"{TABLES}/source.json",
        ledger=f"{TABLES}/ledger.csv",
    output:
        files=f"{RESULTS}/deidentified/files.csv",
        refused=f"{RESULTS}/deidentified/refused.csv",
    log:
        "logs/deidentify.log",
    benchmark:
        f"{BENCHMARKS}/deidentify.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step(
            "deidentify.step",
            "deidentify",
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
    shell:
        STEP
