# A checkpoint: what comes after it is planned again once the digest is known, so that a cohort
# that changed without changing one included slice trains nothing anew.
checkpoint slices:
    """Store every included slice once, on one grid, as 16-bit HU."""
    input:
        index=f"{TABLES}/index.parquet",
        labels=f"{TABLES}/labels.csv",
        split=f"{TABLES}/split.csv",
    output:
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        digest=f"{TABLES}/slices.json",
    log:
        "logs/slices.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        code=modules("slices", "ingest"),
        config=section("slices"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
        dxa=section("dxa"),
    shell:
        "python -m dsnet.slices --params {params.config:q} --cohort {params.cohort:q}"
        " --private {params.private:q} --index {input.index:q} --labels {input.labels:q}"
        " --split {input.split:q} --store {output.store:q} --boxes {output.boxes:q}"
        " --digest {output.digest:q} --dxa {params.dxa:q} --log {log:q}"
