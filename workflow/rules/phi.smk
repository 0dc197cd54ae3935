rule phi_check:
    """Search every output for identifying values, last of all, and fail on one."""
    input:
        index=f"{TABLES}/index.parquet",
        finished=everything(),
    output:
        # The report is a log: Snakemake would delete an output when the rule fails, and with it
        # where to look.
        passed=touch(f"{RESULTS}/phi_check.passed"),
    log:
        report=f"{RESULTS}/phi_check.json",
        step="logs/phi_check.log",
    conda:
        "../envs/dsnet.yaml"
    threads: workflow.cores
    params:
        code=modules("phi"),
        config=section("phi_check"),
        cohort=cohort,
        private=CONFIG.private.as_posix(),
        results=subpath(output.passed, parent=True),
        logs="logs",
        records=".snakemake",
    shell:
        "python -m dsnet.phi --params {params.config:q} --cohort {params.cohort:q}"
        " --private {params.private:q} --index {input.index:q} --results {params.results:q}"
        " --logs {params.logs:q} --records {params.records:q} --report {log.report:q}"
        " --log {log.step:q}"
