"""CPU time of phi-check on a slice store, in one and in several processes.

``python benchmarks/phi_check.py --slices 1000 --size 512 --processes 1 2`` makes a store of
CT-like slices (body, bones, air, noise; 16-bit HU) and the private values of a cohort of invented
patients, plants a name in the last slice, searches, and prints megabytes, seconds and MB/s. The
name must be found and nothing else.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.planted_phi import make_project, search

from dsnet.errors import UserError

PLANTED = "Braskacker"


def write_store(path: Path, slices: int, size: int) -> None:
    """Write a store of `slices` slices: noise about air, soft tissue and bone."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    mean = np.full((size, size), -1000.0)
    mean[((x - 0.5) / 0.4) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1] = 40
    mean[((x - 0.5) / 0.06) ** 2 + ((y - 0.62) / 0.06) ** 2 < 1] = 300
    store = open_memmap(path, "w+", "<i2", (slices, size, size))
    for index in range(slices):
        noise = random.normal(0, 25, (size, size))
        store[index] = np.clip(mean + noise, -1024, 3071)
    store[-1, 3, 5 : 5 + len(PLANTED)] = [ord(letter) for letter in PLANTED]
    store.flush()


def invented_values(patients: int) -> list[tuple[str, str, str, str]]:
    """Return names, numbers, UIDs and dates of invented patients, and one name to plant."""
    random = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnoprstuvwz"))
    rows = [(f"{PLANTED}^Eluned", "PatientName", "name", "P-0000000000000000")]
    for number in range(1, patients):
        key = f"P-{number:016x}"
        family, given = ("".join(random.choice(letters, 8)).title() for _ in range(2))
        born = f"19{random.integers(20, 80)}-{random.integers(1, 13):02}-{number % 28 + 1:02}"
        rows += [
            (f"{family}^{given}", "PatientName", "name", key),
            (str(random.integers(10**6, 10**8)), "PatientID", "text", key),
            (born, "PatientBirthDate", "date", key),
        ]
        uids = random.integers(10**12, 10**13, 40)
        rows += [(f"1.2.826.0.1.{uid}.{number}", "SOPInstanceUID", "uid", key) for uid in uids]
    return rows


def cpu_seconds() -> float:
    """Return the processor time of this process and of those that it waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, invented_values(options.patients))
        store = folder / "results" / "slices.npy"
        write_store(store, options.slices, options.size)
        megabytes = store.stat().st_size / 1e6
        for processes in options.processes * options.repeats:
            begun, cpu = time.monotonic(), cpu_seconds()
            with suppress(UserError):  # the planted name
                search(folder, processes=processes)
            wall, cpu = time.monotonic() - begun, cpu_seconds() - cpu
            report = json.loads((folder / "results" / "phi_check.json").read_text())
            hits = [(hit["path"], hit["kind"], hit["values"]) for hit in report["hits"]]
            print(
                f"{processes} processes: {megabytes:.0f} MB, {cpu:.1f} CPU s "
                f"({megabytes / cpu:.0f} MB/s), {wall:.1f} s by the clock; hits {hits}, "
                f"suspects {len(report['suspects'])}",
                flush=True,
            )


if __name__ == "__main__":
    main()
