"""The cohort folder: what a hospital brings, read-only to the pipeline."""
