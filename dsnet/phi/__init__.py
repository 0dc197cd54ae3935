"""The search of all outputs for the identifying values met at ingestion."""
