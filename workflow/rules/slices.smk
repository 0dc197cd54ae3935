# A checkpoint: what comes after it is planned again once the digest is known, so that a cohort
# that changed without changing one included slice trains nothing again.
checkpoint slices:
    """Store every included slice once, on one grid, as 16-bit HU."""
    input:
        source=f"{TABLES}/source.json",
        index=f"{TABLES}/index.parquet",
        labels=f"{TABLES}/labels.csv",
        split=f"{TABLES}/split.csv",
    output:
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        checks=f"{TABLES}/box_checks.csv",
        digest=f"{TABLES}/slices.json",
    log:
        "logs/slices.log",
    benchmark:
        f"{BENCHMARKS}/slices.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step(
            "slices.step",
            "slices",
            "dxa",
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
    shell:
        STEP


rule negatives:
    """Store the slices that are known to show no body of L1 to L4."""
    input:
        source=f"{TABLES}/source.json",
        index=f"{TABLES}/index.parquet",
        boxes=f"{TABLES}/annotations.csv",
        ledger=f"{TABLES}/ledger.csv",
        split=split_of_slices,
    output:
        store=f"{TABLES}/negatives.npy",
        table=f"{TABLES}/negatives.csv",
    log:
        "logs/negatives.log",
    benchmark:
        f"{BENCHMARKS}/negatives.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "slices.negatives",
            "slices",
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
    shell:
        STEP


rule thumbnails:
    """Make small pictures of excluded images, for the report."""
    input:
        source=f"{TABLES}/source.json",
        index=f"{TABLES}/index.parquet",
        ledger=f"{TABLES}/ledger.csv",
    output:
        pictures=f"{TABLES}/thumbnails.parquet",
    log:
        "logs/thumbnails.log",
    benchmark:
        f"{BENCHMARKS}/thumbnails.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step(
            "slices.thumbnails",
            "report",
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
    shell:
        STEP


rule contact_sheet:
    """Show annotated slices, flagged ones first, for a look before anything is trained."""
    input:
        needs=[*cohort_tables(), f"{TABLES}/slices.json", f"{TABLES}/box_checks.csv"],
    output:
        png=f"{TABLES}/contact_sheet.png",
        page=f"{TABLES}/contact_sheet.html",
    log:
        "logs/contact_sheet.log",
    benchmark:
        f"{BENCHMARKS}/contact_sheet.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("audit.contact_sheet", "report", results=RESULTS),
        files=files,
    shell:
        STEP
