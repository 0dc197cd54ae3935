rule train:
    """Train one detector."""
    input:
        digest=slices("digest"),
        store=ancient(slices("store")),
        boxes=ancient(slices("boxes")),
        split=ancient(split_of_slices),
        negatives=NEGATIVES[:1],
        negatives_table=NEGATIVES[1:],
    output:
        weights=f"{RESULTS}/models/{RUN}/weights.pt",
        history=f"{RESULTS}/models/{RUN}/history.csv",
        manifest=f"{RESULTS}/models/{RUN}/manifest.json",
    log:
        f"logs/train/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/train/{RUN}.tsv"
    # Before predictions that are ready: the last training ends last.
    priority: 1
    conda:
        "../envs/dsnet.yaml"
    threads: DETECTOR_CORES
    resources:
        **TRAIN_RESOURCES,
    params:
        step=step(
            "train.step",
            "detector",
            "params:train",
            variant=VARIANT,
            wildcards=("seed",),
        ),
        files=files,
        # Not an output: Snakemake deletes outputs after a failure, and the checkpoints are what
        # an interrupted training resumes from.
        checkpoints=f"--checkpoints={RESULTS}/checkpoints/{RUN}",
    shell:
        LAUNCHER + STEP + " {params.checkpoints}"
