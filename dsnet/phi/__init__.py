"""The self-test: no identifying value met at ingestion is in any output."""
