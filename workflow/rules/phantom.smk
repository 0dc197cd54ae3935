rule phantom:
    """Make the built-in synthetic cohort."""
    output:
        cohort=f"{PHANTOM}/cohort.json",
        answers=PHANTOM_ANSWERS,
    log:
        "logs/phantom.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        code=modules("phantom"),
        config=section("phantom"),
        folder=subpath(output.cohort, parent=True),
    shell:
        "python -m dsnet.phantom --params {params.config:q} --cohort {params.folder:q}"
        " --answers {output.answers:q} --log {log:q}"
