rule predict:
    """Write what one detector finds on the test and validation parts."""
    input:
        digest=digest,
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
    output:
        test=f"{RESULTS}/predictions/{RUN}/test.parquet",
        validation=f"{RESULTS}/predictions/{RUN}/validation.parquet",
        coco_results=f"{RESULTS}/predictions/{RUN}/coco_results.json",
    log:
        f"logs/predict/{RUN}.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        code=modules("detect"),
        detector=section("detector"),
        variant=variant,
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.predict.step --detector {params.detector:q}"
        " --variant {params.variant:q} --weights {input.weights:q} --digest {input.digest:q}"
        " --store {params.store:q} --boxes {params.boxes:q} --split {params.split:q}"
        " --test {output.test:q} --validation {output.validation:q}"
        " --coco-results {output.coco_results:q} --log {log:q}"


rule ground_truth:
    """Write the ground truth of the test part for whoever recomputes AP with pycocotools."""
    input:
        digest=digest,
    output:
        truth=f"{RESULTS}/predictions/ground_truth.json",
    log:
        "logs/ground_truth.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("evaluate"),
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.evaluate.coco --digest {input.digest:q} --boxes {params.boxes:q}"
        " --split {params.split:q} --truth {output.truth:q} --log {log:q}"


rule evaluate:
    """Turn one detector's predictions with all seeds into numbers with intervals."""
    input:
        digest=digest,
        predictions=expand(
            f"{RESULTS}/predictions/{VARIANT}/seed{{seed}}/{{part}}.parquet",
            seed=seeds(),
            part=("test", "validation"),
            allow_missing=True,
        ),
    output:
        metrics=f"{RESULTS}/metrics/{VARIANT}.json",
    log:
        f"logs/evaluate/{VARIANT}.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("evaluate"),
        config=section("evaluate"),
        seeds=",".join(str(seed) for seed in seeds()),
        predictions=lambda wildcards: f"{RESULTS}/predictions/{wildcards.backbone}/{wildcards.attention}",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.evaluate --params {params.config:q} --predictions {params.predictions:q}"
        " --seeds {params.seeds:q} --boxes {params.boxes:q} --split {params.split:q}"
        " --digest {input.digest:q} --metrics {output.metrics:q} --log {log:q}"


rule compare:
    """Set each attention against none on the same patients, Holm-corrected."""
    input:
        digest=digest,
        predictions=expand(
            f"{RESULTS}/predictions/{{variant}}/seed{{seed}}/test.parquet",
            variant=DETECTORS,
            seed=seeds(),
        ),
    output:
        differences=report(
            f"{RESULTS}/differences.csv",
            caption="../report/differences.rst",
            category="Tables",
        ),
    log:
        "logs/compare.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("evaluate"),
        config=section("evaluate"),
        variants=",".join(DETECTORS),
        seeds=",".join(str(seed) for seed in seeds()),
        predictions=below_results("predictions"),
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.evaluate.compare --params {params.config:q}"
        " --variants {params.variants:q} --seeds {params.seeds:q}"
        " --predictions {params.predictions:q} --boxes {params.boxes:q} --split {params.split:q}"
        " --digest {input.digest:q} --differences {output.differences:q} --log {log:q}"


rule speed:
    """Time all detectors of Table 1 in turn, in one process."""
    input:
        digest=digest,
        weights=first_weights(TABLE1),
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
        code=modules("detect"),
        config=section("evaluate"),
        detector=section("detector"),
        variants=timed(TABLE1),
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
    shell:
        "python -m dsnet.predict.speed --params {params.config:q} --detector {params.detector:q}"
        " --variants {params.variants:q} --digest {input.digest:q} --store {params.store:q}"
        " --boxes {params.boxes:q} --speed {output.speed:q} --log {log:q}"


# The detectors of every table: a run of its own, since ratios hold within one run only, and Table 1
# alone must not wait for the others to be trained.
use rule speed as speed_all with:
    input:
        digest=digest,
        weights=first_weights(DETECTORS),
    output:
        speed=f"{RESULTS}/speed_all.json",
    log:
        "logs/speed_all.log",
    params:
        config=section("evaluate"),
        detector=section("detector"),
        variants=timed(DETECTORS),
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
