rule flow_diagram:
    """Draw what became of every file, image and patient."""
    input:
        flow=f"{TABLES}/flow.json",
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        labels=f"{TABLES}/labels.csv",
        split=f"{TABLES}/split.csv",
    output:
        svg=report(
            f"{TABLES}/flow.svg",
            caption="../report/flow.rst",
            category="Cohort",
            labels={"item": "Flow diagram"},
        ),
        png=f"{TABLES}/flow.png",
    log:
        "logs/flow_diagram.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("report"),
    shell:
        "python -m dsnet.report.diagram --flow {input.flow:q} --ledger {input.ledger:q}"
        " --exclusions {input.exclusions:q} --labels {input.labels:q} --split {input.split:q}"
        " --svg {output.svg:q} --png {output.png:q} --log {log:q}"


rule report:
    """Put everything on one page that needs no network."""
    input:
        index=f"{TABLES}/index.parquet",
        flow=f"{TABLES}/flow.json",
        diagram=f"{TABLES}/flow.svg",
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        labels=f"{TABLES}/labels.csv",
        split=f"{TABLES}/split.csv",
        proof=f"{TABLES}/split_proof.json",
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        tables=reported(),
    output:
        page=report(
            f"{RESULTS}/report.html",
            caption="../report/report.rst",
            category="Cohort",
            labels={"item": "Report"},
        ),
    log:
        "logs/report.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("report"),
        config=CONFIG.model_dump_json(),
        results=subpath(output.page, parent=True),
        state=cohort_state(),
    shell:
        "python -m dsnet.report --config {params.config:q} --results {params.results:q}"
        " --index {input.index:q} --flow {input.flow:q} --diagram {input.diagram:q}"
        " --ledger {input.ledger:q} --exclusions {input.exclusions:q} --labels {input.labels:q}"
        " --split {input.split:q} --proof {input.proof:q} --store {input.store:q}"
        " --boxes {input.boxes:q} --page {output.page:q} --log {log:q}"


rule checklist:
    """Draft the reporting checklists, with blanks for what only people can write."""
    input:
        flow=f"{TABLES}/flow.json",
        ledger=f"{TABLES}/ledger.csv",
        exclusions=f"{TABLES}/exclusions.csv",
        labels=f"{TABLES}/labels.csv",
        split=f"{TABLES}/split.csv",
        proof=f"{TABLES}/split_proof.json",
        tables=reported(),
    output:
        checklist=f"{RESULTS}/checklist.md",
    log:
        "logs/checklist.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("report"),
        config=CONFIG.model_dump_json(),
        results=subpath(output.checklist, parent=True),
    shell:
        "python -m dsnet.report.checklist --config {params.config:q} --results {params.results:q}"
        " --flow {input.flow:q} --ledger {input.ledger:q} --exclusions {input.exclusions:q}"
        " --labels {input.labels:q} --split {input.split:q} --proof {input.proof:q}"
        " --checklist {output.checklist:q} --log {log:q}"
