"""Command line of the self-test: ``python -m dsnet.phicheck``."""

if __name__ == "__main__":
    # Imported here, since each worker process reads this file again.
    from dsnet.phicheck.step import phi_check
    from dsnet.step import run

    run(phi_check)
