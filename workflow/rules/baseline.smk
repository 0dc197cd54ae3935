# What is written in results/metrics/hu (annotated boxes) and hu_detected (a detector's boxes).
HU_METHODS = ("thresholds", "balanced", "multinomial", "nearest")
HU_DETECTOR = f"resnet50/none/seed{CONFIG.train.seeds[0]}"


rule baseline:
    """Grade the test part by the HU in its annotated boxes, without a network."""
    input:
        digest=digest,
    output:
        features=f"{RESULTS}/baseline/features.csv",
        model=f"{RESULTS}/baseline/model.json",
        metrics=expand(f"{RESULTS}/metrics/hu/{{method}}.json", method=HU_METHODS),
    log:
        "logs/baseline.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("baseline", "evaluate", "slices"),
        config=section("baseline"),
        judging=section("evaluate"),
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
        metrics=below_results("metrics/hu"),
    shell:
        "python -m dsnet.baseline --params {params.config:q} --judging {params.judging:q}"
        " --digest {input.digest:q} --store {params.store:q} --boxes {params.boxes:q}"
        " --split {params.split:q} --features {output.features:q} --model {output.model:q}"
        " --metrics {params.metrics:q} --log {log:q}"


rule baseline_detected:
    """Grade the test part by the HU in the boxes that the plain ResNet50 detector found."""
    input:
        digest=digest,
        detections=f"{RESULTS}/predictions/{HU_DETECTOR}/test.parquet",
    output:
        features=f"{RESULTS}/baseline/features_detected.csv",
        model=f"{RESULTS}/baseline/model_detected.json",
        metrics=expand(
            f"{RESULTS}/metrics/hu_detected/{{method}}.json", method=HU_METHODS
        ),
    log:
        "logs/baseline_detected.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("baseline", "evaluate", "slices"),
        config=section("baseline"),
        judging=section("evaluate"),
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
        metrics=below_results("metrics/hu_detected"),
    shell:
        "python -m dsnet.baseline.detected --params {params.config:q}"
        " --judging {params.judging:q} --detections {input.detections:q}"
        " --digest {input.digest:q} --store {params.store:q} --boxes {params.boxes:q}"
        " --split {params.split:q} --features {output.features:q} --model {output.model:q}"
        " --metrics {params.metrics:q} --log {log:q}"
