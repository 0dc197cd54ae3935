"""Command line of the slice store: ``python -m dsnet.slices``."""

if __name__ == "__main__":
    # Imported here, since each worker process reads this file again and needs no table library.
    from dsnet.slices.step import store_slices
    from dsnet.step import run

    run(store_slices)
