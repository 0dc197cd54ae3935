"""Command line of the ingestion: ``python -m dsnet.ingest``."""

from dsnet.ingest.step import ingest
from dsnet.step import run

if __name__ == "__main__":
    run(ingest)
