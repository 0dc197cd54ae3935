rule table1:
    """Set ResNet50 with each attention beside the paper's figures."""
    input:
        metrics=expand(
            f"{RESULTS}/metrics/{{variant}}/seed{{seed}}.json",
            variant=TABLE1,
            seed=seeds(),
        ),
        manifests=expand(
            f"{RESULTS}/models/{{variant}}/seed{{seed}}/manifest.json",
            variant=TABLE1,
            seed=seeds(),
        ),
        speed=f"{RESULTS}/speed.json",
        code=modules("tables"),
    output:
        table=f"{RESULTS}/table1.csv",
        summary=f"{RESULTS}/metrics.json",
    log:
        "logs/table1.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        variants=",".join(TABLE1),
        seeds=",".join(str(seed) for seed in seeds()),
        metrics=below_results("metrics"),
        models=below_results("models"),
    shell:
        "python -m dsnet.tables --variants {params.variants:q} --seeds {params.seeds:q}"
        " --metrics {params.metrics:q} --models {params.models:q} --speed {input.speed:q}"
        " --table {output.table:q} --summary {output.summary:q} --log {log:q}"
