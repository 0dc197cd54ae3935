rule predict:
    """Write what one detector finds on the test part."""
    input:
        digest=digest,
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
        code=modules("detect"),
    output:
        predictions=f"{RESULTS}/predictions/{RUN}.parquet",
    log:
        f"logs/predict/{RUN}.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        detector=section("detector"),
        variant=variant,
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.evaluate.predict --detector {params.detector:q}"
        " --variant {params.variant:q} --weights {input.weights:q} --part test"
        " --digest {input.digest:q} --store {params.store:q} --boxes {params.boxes:q}"
        " --split {params.split:q} --predictions {output.predictions:q} --log {log:q}"


rule evaluate:
    """Turn one detector's predictions into numbers with intervals."""
    input:
        digest=digest,
        predictions=f"{RESULTS}/predictions/{RUN}.parquet",
        code=modules("evaluate"),
    output:
        metrics=f"{RESULTS}/metrics/{RUN}.json",
    log:
        f"logs/evaluate/{RUN}.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        config=section("evaluate"),
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.evaluate --params {params.config:q} --predictions {input.predictions:q}"
        " --boxes {params.boxes:q} --split {params.split:q} --digest {input.digest:q} --part test"
        " --metrics {output.metrics:q} --log {log:q}"


rule speed:
    """Time all detectors of Table 1 in turn, in one process."""
    input:
        digest=digest,
        weights=expand(
            f"{RESULTS}/models/{{variant}}/seed{CONFIG.train.seeds[0]}/weights.pt",
            variant=TABLE1,
        ),
        code=modules("detect"),
    output:
        speed=f"{RESULTS}/speed.json",
    log:
        "logs/speed.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        config=section("evaluate"),
        detector=section("detector"),
        variants=timed,
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
    shell:
        "python -m dsnet.evaluate.speed --params {params.config:q} --detector {params.detector:q}"
        " --variants {params.variants:q} --digest {input.digest:q} --store {params.store:q}"
        " --boxes {params.boxes:q} --speed {output.speed:q} --log {log:q}"
