"""Ingestion by several jobs."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.cohort import Ingest, Phantom
from dsnet.ingest import step
from dsnet.ingest.shard import read_shard
from dsnet.ingest.step import cache_path, ingest
from dsnet.phantom.step import make_phantom
from dsnet.private import PrivateCohort
from dsnet.results import Results

pytestmark = pytest.mark.slow

SHARDS = Ingest(shards=3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    params = Phantom(patients_per_class=5, matrix_px=128, slices_per_level=2)
    make_phantom(params, folder, folder.with_name("answers.json"))
    return folder


def run(cohort: Path, out: Path, params: Ingest) -> tuple[bytes, list[pd.DataFrame]]:
    """Return the index's bytes, and the private tables."""
    tables = out / "results" / "cohort"
    shards = range(params.shards) if params.shards > 1 else ()
    for shard in shards:
        done = tables / f"{shard}.txt"
        read_shard(ingest=params, cohort=cohort, private=out / "private", shard=shard, done=done)
    index, source = tables / "index.parquet", tables / "source.json"
    ingest(ingest=params, cohort=cohort, private=out / "private", index=index, source=source)
    known = Results(out / "results").private(out / "private", cohort)
    return index.read_bytes(), _private_tables(known)


def _private_tables(known: PrivateCohort) -> list[pd.DataFrame]:
    met = schemas.read(schemas.IDENTIFYING, known.identifying_path)
    return [known.read_map(), met.sort_values(list(met.columns), ignore_index=True)]


def test_shards_give_the_index_of_one_process(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, private = run(cohort, tmp_path / "whole", Ingest())
    read: list[str] = []
    read_all = step.read_all

    def watched(new: list, *arguments: object) -> object:
        read.extend(file.relative for file in new)
        return read_all(new, *arguments)

    monkeypatch.setattr(step, "read_all", watched)
    sharded, tables = run(cohort, tmp_path / "shards", SHARDS)
    assert sharded == index
    for one, other in zip(private, tables, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert len(read) == len(set(read)) == len(private[0])
    kept = cache_path(tmp_path / "shards" / "private", cohort)
    assert list(kept.parent.glob("ingest-*")) == [kept]  # no identities stay in a shard's cache

    read.clear()
    assert run(cohort, tmp_path / "shards", SHARDS)[0] == index
    assert len(read) < len(private[0]) / 10  # all but the files with faults that may pass


def test_a_cohort_that_each_node_has_elsewhere_is_read_once(cohort: Path, tmp_path: Path) -> None:
    """Nodes read it under one path, which is a link to another folder on each of them."""
    link, private, tables = tmp_path / "cohort", tmp_path / "private", tmp_path / "results/cohort"
    for number in range(SHARDS.shards):
        node = tmp_path / f"node{number}" / "cohort"
        shutil.copytree(cohort, node)
        link.unlink(missing_ok=True)
        link.symlink_to(node, target_is_directory=True)
        done = tables / f"{number}.txt"
        read_shard(ingest=SHARDS, cohort=link, private=private, shard=number, done=done)
    link.unlink()
    link.symlink_to(cohort, target_is_directory=True)
    index, source = tables / "index.parquet", tables / "source.json"
    ingest(ingest=SHARDS, cohort=link, private=private, index=index, source=source)
    assert list(private.glob("ingest-*")) == [cache_path(private, link)]
    assert index.read_bytes() == run(cohort, tmp_path / "whole", Ingest())[0]
