rule train:
    """Train one detector; one at a time, since each takes all cores."""
    input:
        digest=digest,
    output:
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
        history=f"{RESULTS}/models/{RUN}/history.csv",
        manifest=f"{RESULTS}/models/{RUN}/manifest.json",
    log:
        f"logs/train/{RUN}.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        code=modules("detect", "train"),
        detector=section("detector"),
        config=training(),
        variant=variant,
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
        # Not an output: Snakemake deletes outputs after a failure, and the checkpoints are what
        # an interrupted training goes on from.
        checkpoints=f"{RESULTS}/checkpoints/{RUN}",
    shell:
        "python -m dsnet.train --detector {params.detector:q} --params {params.config:q}"
        " --variant {params.variant:q} --seed {wildcards.seed:q} --digest {input.digest:q} --store {params.store:q}"
        " --boxes {params.boxes:q} --split {params.split:q} --weights {output.weights:q}"
        " --history {output.history:q} --manifest {output.manifest:q}"
        " --checkpoints {params.checkpoints:q} --log {log:q}"
