rule figures:
    """Draw what follows from the metrics alone: curves and confusion matrices."""
    input:
        metrics=expand(
            f"{RESULTS}/metrics/{{variant}}.json", variant=[*TABLE1, *ROC_BASELINES]
        ),
    output:
        figures=figure_files(
            "precision_recall",
            "roc",
            "calibration",
            "froc",
            "confusion_box",
            "confusion_level",
            "confusion_patient",
        ),
    log:
        "logs/figures/figures.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("figures", "tables"),
        variants=",".join(TABLE1),
        baselines=",".join(ROC_BASELINES),
        metrics=below_results("metrics"),
        folder=below_results("figures"),
    shell:
        "python -m dsnet.figures --variants {params.variants:q} --baselines {params.baselines:q}"
        " --metrics {params.metrics:q} --folder {params.folder:q} --log {log:q}"


rule forest:
    """Draw each detector's map, and what attention adds to it, with intervals."""
    input:
        metrics=expand(f"{RESULTS}/metrics/{{variant}}.json", variant=DETECTORS),
        differences=f"{RESULTS}/differences.csv",
    output:
        figures=figure_files("forest"),
    log:
        "logs/figures/forest.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("figures", "tables"),
        variants=",".join(DETECTORS),
        metrics=below_results("metrics"),
        folder=below_results("figures"),
    shell:
        "python -m dsnet.figures.forest --variants {params.variants:q}"
        " --metrics {params.metrics:q} --differences {input.differences:q}"
        " --folder {params.folder:q} --log {log:q}"


rule figure4:
    """Draw the truth, and what each detector finds, on one test slice of each class."""
    input:
        digest=digest,
        predictions=expand(
            f"{RESULTS}/predictions/{{variant}}/seed{seeds()[0]}/test.parquet",
            variant=TABLE1,
        ),
    output:
        figures=figure_files("figure4"),
    log:
        "logs/figures/figure4.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("figures", "tables"),
        variants=",".join(TABLE1),
        seed=seeds()[0],
        score=CONFIG.evaluate.score,
        predictions=below_results("predictions"),
        store=f"{TABLES}/slices.npy",
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
        folder=below_results("figures"),
    shell:
        "python -m dsnet.figures.detections --variants {params.variants:q} --seed {params.seed:q}"
        " --score {params.score:q} --predictions {params.predictions:q} --digest {input.digest:q}"
        " --store {params.store:q} --boxes {params.boxes:q} --split {params.split:q}"
        " --folder {params.folder:q} --log {log:q}"


rule learning:
    """Draw how the loss fell and the validation map rose."""
    input:
        digest=digest,
        histories=expand(
            f"{RESULTS}/models/{{variant}}/seed{{seed}}/history.csv",
            variant=DETECTORS,
            seed=seeds(),
        ),
    output:
        figures=figure_files("learning"),
    log:
        "logs/figures/learning.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("figures", "tables"),
        variants=",".join(DETECTORS),
        seeds=",".join(str(seed) for seed in seeds()),
        models=below_results("models"),
        split=f"{TABLES}/split.csv",
        folder=below_results("figures"),
    shell:
        "python -m dsnet.figures.learning --variants {params.variants:q} --seeds {params.seeds:q}"
        " --models {params.models:q} --digest {input.digest:q} --split {params.split:q}"
        " --folder {params.folder:q} --log {log:q}"


rule patients:
    """Draw how many patients and slices each part has of each class."""
    input:
        digest=digest,
    output:
        figures=figure_files("patients"),
    log:
        "logs/figures/patients.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("figures", "tables"),
        split=f"{TABLES}/split.csv",
        folder=below_results("figures"),
    shell:
        "python -m dsnet.figures.patients --digest {input.digest:q} --split {params.split:q}"
        " --folder {params.folder:q} --log {log:q}"
