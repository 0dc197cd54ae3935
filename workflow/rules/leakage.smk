# A trial is the same slices under another split or other training labels, in a folder of its own:
# {trial} is LEAKY/true (split by image), patient/shuffled (training labels drawn by lot) or, for
# the HU models alone, LEAKY/shuffled. Steps and store are those of the honest run.
TRIAL = f"{RESULTS}/leakage/{{trial}}"
TRIAL_LOG = "logs/leakage/{trial}"
LEAKAGE_DETECTOR = (
    f"{CONFIG.leakage.detector.backbone}/{CONFIG.leakage.detector.attention}"
)
LEAKAGE_SEED = CONFIG.train.seeds[0]


wildcard_constraints:
    trial="LEAKY/true|patient/shuffled",


rule trial:
    """Write boxes, split and digest of a trial."""
    input:
        digest=digest,
    output:
        boxes=f"{TRIAL}/slices.csv",
        split=f"{TRIAL}/split.csv",
        digest=f"{TRIAL}/slices.json",
    log:
        f"{TRIAL_LOG}/trial.log",
    wildcard_constraints:
        trial="LEAKY/true|patient/shuffled",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("leakage", "split"),
        config=section("leakage"),
        splitting=section("split"),
        boxes=f"{TABLES}/slices.csv",
        split=f"{TABLES}/split.csv",
    shell:
        "python -m dsnet.leakage --params {params.config:q} --splitting {params.splitting:q}"
        " --trial {wildcards.trial:q} --boxes {params.boxes:q} --split {params.split:q}"
        " --digest {input.digest:q} --trial-boxes {output.boxes:q} --trial-split {output.split:q}"
        " --trial-digest {output.digest:q} --log {log:q}"


use rule train as trial_train with:
    input:
        digest=f"{TRIAL}/slices.json",
    output:
        weights=f"{TRIAL}/models/{RUN}/weights.pt",
        history=f"{TRIAL}/models/{RUN}/history.csv",
        manifest=f"{TRIAL}/models/{RUN}/manifest.json",
    log:
        f"{TRIAL_LOG}/train/{RUN}.log",
    params:
        boxes=f"{TRIAL}/slices.csv",
        split=f"{TRIAL}/split.csv",
        checkpoints=f"{RESULTS}/checkpoints/leakage/{{trial}}/{RUN}",


use rule predict as trial_predict with:
    input:
        digest=f"{TRIAL}/slices.json",
        weights=f"{TRIAL}/models/{RUN}/weights.pt",
    output:
        test=f"{TRIAL}/predictions/{RUN}/test.parquet",
        validation=f"{TRIAL}/predictions/{RUN}/validation.parquet",
        coco_results=f"{TRIAL}/predictions/{RUN}/coco_results.json",
    log:
        f"{TRIAL_LOG}/predict/{RUN}.log",
    params:
        boxes=f"{TRIAL}/slices.csv",
        split=f"{TRIAL}/split.csv",


use rule evaluate as trial_evaluate with:
    input:
        digest=f"{TRIAL}/slices.json",
        test=f"{TRIAL}/predictions/{{backbone}}/{{attention}}/seed{LEAKAGE_SEED}/test.parquet",
        validation=f"{TRIAL}/predictions/{{backbone}}/{{attention}}/seed{LEAKAGE_SEED}/validation.parquet",
    output:
        metrics=f"{TRIAL}/metrics/{{backbone}}/{{attention}}.json",
    log:
        f"{TRIAL_LOG}/evaluate/{{backbone}}/{{attention}}.log",
    params:
        seeds=str(LEAKAGE_SEED),
        predictions=subpath(input.test, ancestor=2),
        boxes=f"{TRIAL}/slices.csv",
        split=f"{TRIAL}/split.csv",


use rule baseline as leaky_baseline with:
    input:
        digest=f"{RESULTS}/leakage/LEAKY/true/slices.json",
    output:
        features=f"{RESULTS}/leakage/LEAKY/true/features.csv",
        model=f"{RESULTS}/leakage/LEAKY/true/model.json",
        metrics=expand(
            f"{RESULTS}/leakage/LEAKY/true/metrics/hu/{{method}}.json",
            method=HU_METHODS,
        ),
    log:
        "logs/leakage/LEAKY/true/baseline.log",
    params:
        boxes=f"{RESULTS}/leakage/LEAKY/true/slices.csv",
        split=f"{RESULTS}/leakage/LEAKY/true/split.csv",
        metrics=below_results("leakage/LEAKY/true/metrics/hu"),


rule control:
    """Let the HU models learn labels drawn by lot, under the split by patient."""
    input:
        digest=digest,
        features=f"{RESULTS}/baseline/features.csv",
    output:
        metrics=expand(
            f"{RESULTS}/leakage/patient/shuffled/metrics/hu/{{method}}.json",
            method=("multinomial", "nearest"),
        ),
    log:
        "logs/leakage/patient/shuffled/control.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("leakage", "baseline", "evaluate"),
        config=section("leakage"),
        judging=section("evaluate"),
        split=f"{TABLES}/split.csv",
        metrics=below_results("leakage/patient/shuffled/metrics/hu"),
    shell:
        "python -m dsnet.leakage.control --params {params.config:q} --judging {params.judging:q}"
        " --features {input.features:q} --digest {input.digest:q} --split {params.split:q}"
        " --metrics {params.metrics:q} --log {log:q}"


use rule control as leaky_control with:
    input:
        digest=f"{RESULTS}/leakage/LEAKY/true/slices.json",
        features=f"{RESULTS}/leakage/LEAKY/true/features.csv",
    output:
        metrics=expand(
            f"{RESULTS}/leakage/LEAKY/shuffled/metrics/hu/{{method}}.json",
            method=("multinomial", "nearest"),
        ),
    log:
        "logs/leakage/LEAKY/shuffled/control.log",
    params:
        split=f"{RESULTS}/leakage/LEAKY/true/split.csv",
        metrics=below_results("leakage/LEAKY/shuffled/metrics/hu"),


rule leakage:
    """Set the split by image against the split by patient, and shuffled labels against true ones."""
    input:
        honest=expand(
            f"{RESULTS}/metrics/{{method}}.json",
            method=("hu/multinomial", "hu/nearest", LEAKAGE_DETECTOR),
        ),
        trials=expand(
            f"{RESULTS}/leakage/{{trial}}/metrics/{{method}}.json",
            trial=("LEAKY/true", "patient/shuffled"),
            method=("hu/multinomial", "hu/nearest", LEAKAGE_DETECTOR),
        ),
        lots=expand(
            f"{RESULTS}/leakage/LEAKY/shuffled/metrics/hu/{{method}}.json",
            method=("multinomial", "nearest"),
        ),
    output:
        table=report(
            f"{RESULTS}/leakage.csv",
            caption="../report/leakage.rst",
            category="Tables",
        ),
    log:
        "logs/leakage.log",
    conda:
        "../envs/dsnet.yaml"
    params:
        code=modules("leakage", "tables"),
        metrics=below_results("metrics"),
        trials=below_results("leakage"),
        detector=LEAKAGE_DETECTOR,
    shell:
        "python -m dsnet.leakage.table --metrics {params.metrics:q} --trials {params.trials:q}"
        " --detector {params.detector:q} --table {output.table:q} --log {log:q}"
