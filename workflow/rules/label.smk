rule label:
    """Give every included vertebra its WHO class."""
    input:
        index=f"{TABLES}/index.parquet",
        ledger=f"{TABLES}/ledger.csv",
        code=modules("label", "cohort"),
    output:
        labels=f"{TABLES}/labels.csv",
    log:
        "logs/label.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        config=section("label"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
    shell:
        "python -m dsnet.label --params {params.config:q} --cohort {params.cohort:q}"
        " --private {params.private:q} --index {input.index:q} --ledger {input.ledger:q}"
        " --labels {output.labels:q} --log {log:q}"
