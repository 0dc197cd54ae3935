rule label:
    """Give every included vertebra its WHO class."""
    input:
        boxes=f"{TABLES}/annotations.csv",
        exams=f"{TABLES}/exams.csv",
        ledger=f"{TABLES}/ledger.csv",
    output:
        labels=f"{TABLES}/labels.csv",
    log:
        "logs/label.log",
    benchmark:
        f"{BENCHMARKS}/label.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("label", "label"),
        files=files,
    shell:
        STEP
