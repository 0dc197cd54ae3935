"""What each job of the workflow cost: one table of the files of Snakemake's `benchmark`."""

import csv
from pathlib import Path

from dsnet.files import write_text

_COLUMNS = {
    "seconds": "s",
    "cpu_seconds": "cpu_time",
    "peak_memory_mb": "max_rss",
    "read_mb": "io_in",
    "written_mb": "io_out",
}


def collect(folder: Path, table: Path) -> None:
    """Write one row for each job that ran, named as its log below ``logs/`` is.

    Memory is the largest sum of the resident memory of the job's processes; processes that `srun`
    starts on several nodes are not seen. A job that ended within a second or two may have no
    figure but its time.

    Parameters
    ----------
    folder : Path
        Of the benchmark files. Nothing is written if there are none.
    table : Path
        Written: ``job``, ``seconds``, ``cpu_seconds``, ``peak_memory_mb``, ``read_mb`` and
        ``written_mb``, as CSV.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as stream:
            measured = next(csv.DictReader(stream, delimiter="\t"), {})
        job = path.relative_to(folder).with_suffix("").as_posix()
        figures = (measured.get(name, "") for name in _COLUMNS.values())
        rows.append([job, *("" if figure in ("-", "NA") else figure for figure in figures)])
    if rows:
        lines = [",".join(row) for row in [["job", *_COLUMNS], *rows]]
        write_text(table, "\n".join(lines) + "\n")
