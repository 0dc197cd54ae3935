"""From a cohort folder to tables: the rules lie in workflow/rules, in the order of the pipeline."""

from snakemake.utils import min_version

min_version("9.20")


# What `dsnet init` writes stands above the demo's config, and below --configfile and --config.
include: "workflow/rules/config.smk"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/match.smk"
include: "workflow/rules/exclude.smk"
include: "workflow/rules/label.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/slices.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/leakage.smk"
include: "workflow/rules/repeats.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/deidentify.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/phi.smk"


rule all:
    default_target: True
    input:
        EVERYTHING,
        f"{RESULTS}/phi_check.passed",
    localrule: True


onstart:
    checked(
        check_nodes
    )  # when a workflow is parsed, Snakemake does not say who runs its jobs
    checked(check_there)
    errors.forget_failures(CONFIG.private)


onsuccess:
    # Not at the top: it loads pandas, which no other part of the workflow needs.
    from dsnet.tables.detectors import collect_benchmarks

    collect_benchmarks(Path(BENCHMARKS), Path(f"{RESULTS}/benchmarks.csv"))


onerror:
    drop_what_is_behind()
    # Snakemake goes on writing after this; what the user needs comes last.
    atexit.register(tell_failures)
