rule table1:
    """Set ResNet50 with each attention beside the paper's figures."""
    input:
        metrics=expand(f"{RESULTS}/metrics/{{variant}}.json", variant=TABLE1),
        manifests=first_manifests(TABLE1),
        speed=f"{RESULTS}/speed.json",
    output:
        table=report(
            f"{RESULTS}/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
        ),
        summary=f"{RESULTS}/metrics.json",
    log:
        "logs/table1.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("tables"),
        variants=",".join(TABLE1),
        seeds=",".join(str(seed) for seed in seeds()),
        metrics=below_results("metrics"),
        models=below_results("models"),
    shell:
        "python -m dsnet.tables --variants {params.variants:q} --seeds {params.seeds:q}"
        " --metrics {params.metrics:q} --models {params.models:q} --speed {input.speed:q}"
        " --table {output.table:q} --summary {output.summary:q} --log {log:q}"


# Each backbone without and with DS.
use rule table1 as table2 with:
    input:
        metrics=expand(f"{RESULTS}/metrics/{{variant}}.json", variant=TABLE2),
        manifests=first_manifests(TABLE2),
        speed=f"{RESULTS}/speed_all.json",
    output:
        table=report(
            f"{RESULTS}/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
        ),
        summary=f"{RESULTS}/table2.json",
    log:
        "logs/table2.log",
    params:
        variants=",".join(TABLE2),
        seeds=",".join(str(seed) for seed in seeds()),
        metrics=below_results("metrics"),
        models=below_results("models"),


rule table3:
    """Set what was measured beside the literature as the paper reports it."""
    input:
        digest=digest,
        metrics=expand(f"{RESULTS}/metrics/{{variant}}.json", variant=TABLE3),
    output:
        table=report(
            f"{RESULTS}/table3.csv",
            caption="../report/table3.rst",
            category="Tables",
        ),
    log:
        "logs/table3.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("tables"),
        variants=",".join(TABLE3),
        metrics=below_results("metrics"),
    shell:
        "python -m dsnet.tables.literature --variants {params.variants:q}"
        " --metrics {params.metrics:q} --digest {input.digest:q} --table {output.table:q}"
        " --log {log:q}"
