rule phantom:
    """Make the built-in synthetic cohort."""
    output:
        written=f"{PHANTOM}/cohort.json",
        answers=PHANTOM_ANSWERS,
    log:
        "logs/phantom.log",
    benchmark:
        f"{BENCHMARKS}/phantom.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step("phantom.step", "params:phantom", cohort=PHANTOM),
        files=files,
    shell:
        STEP
