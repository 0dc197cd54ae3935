"""Command line of the self-test: ``python -m dsnet.phi``."""

if __name__ == "__main__":
    # Imported here, since each worker process reads this file again.
    from dsnet.phi.step import phi_check
    from dsnet.step import run

    run(phi_check)
