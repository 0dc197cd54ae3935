"""Command line of the de-identification: ``python -m dsnet.deidentify``."""

if __name__ == "__main__":
    # Imported here, since each worker process reads this file again.
    from dsnet.deidentify.step import write_deidentified
    from dsnet.step import run

    run(write_deidentified)
