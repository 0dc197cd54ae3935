rule exclude:
    """Judge every file by every criterion, and say why."""
    input:
        index=f"{TABLES}/index.parquet",
    output:
        boxes=f"{TABLES}/annotations.csv",
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        flow=f"{TABLES}/flow.json",
        exams=f"{TABLES}/dxa_exams.csv",
    log:
        "logs/exclude.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("exclude", "cohort"),
        config=section("exclude"),
        annotations=section("annotations"),
        reading=CONFIG.label.t_score,
        dxa=section("dxa"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
        state=cohort_state(),
    shell:
        "python -m dsnet.exclude --params {params.config:q} --reading {params.t_score:q}"
        " --cohort {params.cohort:q} --private {params.private:q} --index {input.index:q}"
        " --ledger {output.ledger:q} --exclusions {output.exclusions:q} --flow {output.flow:q}"
        " --dxa {params.dxa:q} --exams {output.exams:q}"
        " --annotations {params.annotations:q} --boxes {output.boxes:q}"
        " --log {log:q}"
