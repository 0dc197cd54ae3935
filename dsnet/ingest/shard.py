"""One of several jobs that read a cohort's files before `dsnet.ingest.step` makes the index.

Each reads every n-th file into a cache of its own, which the step takes over and deletes.
"""

from pathlib import Path

from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Ingest
from dsnet.files import write_text
from dsnet.ingest.cache import open_cache
from dsnet.ingest.step import cache_path, cache_settings, cohort_files, read_new, shard_paths
from dsnet.step import run


def read_shard(*, ingest: Ingest, cohort: Path, private: Path, shard: int, done: Path) -> None:
    """Read the files of one shard that are not known from an earlier run.

    Parameters
    ----------
    ingest : Ingest
    cohort : Path
        The cohort folder, which is only read.
    private : Path
        The folder of the config key ``private``.
    shard : int
        From 0, below ``ingest.shards``.
    done : Path
        Written: how many files the shard has.

    Raises
    ------
    UserError
        If the cohort has no file.
    """
    own = cohort_files(CohortFolder(cohort))[shard :: ingest.shards]
    whole, settings = cache_path(private, cohort), cache_settings(ingest)
    new = own
    if whole.exists():
        with open_cache(whole, settings) as known:
            new = known.unread(own)
    with open_cache(shard_paths(private, cohort, ingest.shards)[shard], settings) as cache:
        read_new(new, cache, ingest)
    write_text(done, f"{len(own)} files\n")


if __name__ == "__main__":
    run(read_shard)
