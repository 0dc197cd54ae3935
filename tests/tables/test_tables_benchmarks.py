from pathlib import Path

from dsnet.tables.detectors import collect_benchmarks

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def test_every_job_has_a_row_and_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    folder, table = tmp_path / "benchmarks", tmp_path / "benchmarks.csv"
    for job, figures in {
        "train/resnet50/ds/seed0": "61.5\t0:01:01\t1500.25\t1\t1\t1\t3.5\t90.1\t180.0\t110.7",
        "label": "0.4\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA",
        "split": "0.3\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-",
    }.items():
        path = folder / f"{job}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}\n{figures}\n")
    collect_benchmarks(folder, table)
    assert table.read_text().splitlines() == [
        "job,seconds,cpu_seconds,peak_memory_mb,read_mb,written_mb",
        "label,0.4,,,,",
        "split,0.3,,,,",
        "train/resnet50/ds/seed0,61.5,110.7,1500.25,3.5,90.1",
    ]


def test_without_benchmarks_no_table_is_written(tmp_path: Path) -> None:
    collect_benchmarks(tmp_path / "none", tmp_path / "benchmarks.csv")
    assert list(tmp_path.iterdir()) == []
