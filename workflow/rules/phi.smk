rule phi_check:
    """Search every output for identifying values, last of all, and fail on one."""
    input:
        needs=[
            f"{TABLES}/source.json",
            *expand(
                f"{RESULTS}/external/{{external}}/cohort/source.json",
                external=CONFIG.external,
            ),
            *EVERYTHING,
        ],
    output:
        # The report is a log: Snakemake would delete an output when the rule fails, and with it
        # where to look.
        passed=touch(f"{RESULTS}/phi_check.passed"),
    log:
        report=f"{RESULTS}/phi_check.json",
        step="logs/phi_check.log",
    benchmark:
        f"{BENCHMARKS}/phi_check.tsv"
    conda:
        "../envs/dsnet.yaml"
    threads: ALL_CORES
    params:
        step=step(
            "phi.step",
            "phi_check",
            private=CONFIG.private,
            results=RESULTS,
            logs="logs",
            records=".snakemake",
            external=list(CONFIG.external),
        ),
    shell:
        "python -m {params.step} --report {log.report:q} --log {log.step:q}"
