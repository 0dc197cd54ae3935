rule exclude:
    """Judge every file by every criterion, and say why."""
    input:
        index=f"{TABLES}/index.parquet",
        code=modules("exclude", "cohort"),
    output:
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        flow=f"{TABLES}/flow.json",
    log:
        "logs/exclude.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        config=section("exclude"),
        reading=CONFIG.label.reading,
        cohort=cohort,
        private=CONFIG.private.as_posix(),
        state=cohort_state(),
    shell:
        "python -m dsnet.exclude --params {params.config:q} --reading {params.reading:q}"
        " --cohort {params.cohort:q} --private {params.private:q} --index {input.index:q}"
        " --ledger {output.ledger:q} --exclusions {output.exclusions:q} --flow {output.flow:q}"
        " --log {log:q}"
