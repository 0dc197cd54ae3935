# With ingest.shards above 1, so many jobs read the files first, each a part of them.
SHARDS = CONFIG.ingest.shards
SHARDS_READ = expand(f"{TABLES}/shards/{{shard}}.txt", shard=range(SHARDS))


rule ingest_shard:
    """Read every n-th file of the cohort."""
    input:
        needs=cohort_marker(),
    output:
        done=f"{TABLES}/shards/{{shard}}.txt",
    log:
        "logs/ingest/shard{shard}.log",
    benchmark:
        f"{BENCHMARKS}/ingest/shard{{shard}}.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step(
            "ingest.shard",
            "ingest",
            wildcards=("shard",),
            cohort=CONFIG.cohort,
            private=CONFIG.private,
        ),
        files=files,
        state=COHORT_STATE,
    shell:
        STEP


rule ingest:
    """Bring the rows of all files of the cohort into one index."""
    input:
        needs=SHARDS_READ if SHARDS > 1 else cohort_marker(),
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
