rule phantom:
    """Make the built-in synthetic cohort."""
    output:
        written=f"{PHANTOM}/cohort.json",
        answers=PHANTOM_ANSWERS,
    log:
        "logs/phantom.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        step=step("phantom.step", "params:phantom", cohort=PHANTOM),
        files=files,
    shell:
        STEP
