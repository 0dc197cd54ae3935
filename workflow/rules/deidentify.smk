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
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
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
