rule flow_diagram:
    """Show how many files, images and patients each criterion excluded."""
    input:
        needs=cohort_tables(),
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
    benchmark:
        f"{BENCHMARKS}/flow_diagram.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("report.diagram", results=RESULTS),
        files=files,
    shell:
        STEP


rule report:
    """Put everything on one page that needs no network."""
    input:
        needs=[
            *cohort_tables(),
            f"{TABLES}/thumbnails.parquet",
            f"{TABLES}/slices.json",
            *REPORTED,
        ],
    output:
        page=report(
            f"{RESULTS}/report.html",
            caption="../report/report.rst",
            category="Cohort",
            labels={"item": "Report"},
        ),
    log:
        "logs/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("report.step", "config", results=RESULTS),
        files=files,
    shell:
        STEP


rule checklist:
    """Draft the reporting checklists, with blanks for what only people can write."""
    input:
        needs=[*cohort_tables(), *REPORTED],
    output:
        checklist=f"{RESULTS}/checklist.md",
    log:
        "logs/checklist.log",
    benchmark:
        f"{BENCHMARKS}/checklist.tsv"
    conda:
        "../envs/dsnet.yaml"
    params:
        step=step("report.methods", "config", results=RESULTS),
        files=files,
    shell:
        STEP
