rule label:
    """Give every included vertebra its WHO class."""
    input:
        index=f"{TABLES}/index.parquet",
        boxes=f"{TABLES}/annotations.csv",
        ledger=f"{TABLES}/ledger.csv",
    output:
        labels=f"{TABLES}/labels.csv",
    log:
        "logs/label.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("label", "cohort"),
        config=section("label"),
        dxa=section("dxa"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
    shell:
        "python -m dsnet.label --params {params.config:q} --dxa {params.dxa:q}"
        " --cohort {params.cohort:q}"
        " --private {params.private:q} --index {input.index:q} --ledger {input.ledger:q}"
        " --boxes {input.boxes:q} --labels {output.labels:q} --log {log:q}"
