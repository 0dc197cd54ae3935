"""The order of the tests, and what several steps are tested on: a store of ellipses on noise."""

import ctypes
import gc
import json
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import forks

from dsnet import processes, schemas
from dsnet.ingest import workers

SIZE_PX, PIXEL_MM = 64, 2.0
PATIENTS = {"train": 3, "validation": 3, "test": 3}
IMAGES_PER_PATIENT = {"train": 3, "validation": 1, "test": 2}
HU = {"normal": 500, "osteopenia": 300, "osteoporosis": 150}


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the process of `support.forks` behind the last test of a folder."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        forks.stop()


PRELOADED = ["dsnet.deidentify.step", "dsnet.ingest.workers", "dsnet.phantom.step"]
PRELOADED += ["dsnet.phi.step", "dsnet.slices.step"]
SPAWNED = ("test_ingest_workers.py", "test_processes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the end-to-end tests, which take longest: the workers share them by file."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)


@pytest.fixture(scope="session", autouse=True)
def _forked() -> Iterator[None]:
    """Fork the package's processes from one with their imports, which take each a second or two."""
    if sys.platform != "linux":
        yield
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_SPAWN", context)
        patch.setattr(processes, "get_context", lambda _method: context)
        yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # waits for its end


@pytest.fixture(scope="module", autouse=True)
def _spawned(request: pytest.FixtureRequest, _forked: None) -> Iterator[None]:
    """Spawn them, as the package does, where they are what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name in SPAWNED:
            patch.setattr(workers, "_SPAWN", multiprocessing.get_context("spawn"))
            patch.setattr(processes, "get_context", multiprocessing.get_context)
        yield


@pytest.fixture(scope="module", autouse=True)
def _memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give back after each module what it cached: detectors are hundreds of megabytes."""
    yield
    for value in vars(request.module).values():
        if getattr(value, "__module__", None) == request.module.__name__:
            getattr(value, "cache_clear", int)()
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


@dataclass(frozen=True)
class Ellipses:
    """The files of a slice store and its split, named as the steps name them."""

    digest: Path
    store: Path
    boxes: Path
    split: Path

    def paths(self) -> dict[str, Path]:
        return asdict(self)


@pytest.fixture(scope="session")
def ellipses(tmp_path_factory: pytest.TempPathFactory) -> Ellipses:
    """Return the store; its order of images does not follow the subsets."""
    folder = tmp_path_factory.mktemp("ellipses")
    random = np.random.default_rng(0)
    annotated, split = _tables(random)
    hu = [_image(row, random) for row in annotated.to_dict("records")]
    made = Ellipses(*(folder / name for name in ("d.json", "s.npy", "s.csv", "split.csv")))
    np.save(made.store, np.stack(hu))
    schemas.write(schemas.SLICES, annotated, made.boxes)
    schemas.write(schemas.SPLIT, split, made.split)
    facts = {"cohort": "ellipses", "synthetic": True, "size_px": SIZE_PX, "pixel_mm": PIXEL_MM}
    made.digest.write_text(json.dumps(facts))
    return made


def _tables(random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    people = [(subset, number) for subset, count in PATIENTS.items() for number in range(count)]
    rows = [
        (f"P-{index:016x}", subset, schemas.CLASSES[number % 3])
        for index, (subset, number) in enumerate(people)
        for _ in range(IMAGES_PER_PATIENT[subset])
    ]
    random.shuffle(rows)
    frame = pd.DataFrame(rows, columns=["patient_key", "subset", "label"])
    frame["row"] = np.arange(len(frame))
    frame["image_key"] = [f"I-{row:016x}" for row in frame["row"]]
    frame["level"] = "L1"
    centre, half = random.uniform(24, 40, (len(frame), 2)), random.uniform(8, 14, (len(frame), 2))
    frame[list(schemas.BOX)] = np.hstack([centre - half, centre + half])
    split = frame.rename(columns={"label": "stratum"})
    columns = [name for name, column in schemas.SPLIT.columns.items() if column.required]
    return frame[list(schemas.SLICES.columns)], split[columns]


def _image(row: dict[str, float], random: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] + 0.5
    x_min, y_min, x_max, y_max = (row[edge] for edge in schemas.BOX)
    away = ((2 * x - x_min - x_max) / (x_max - x_min)) ** 2
    away += ((2 * y - y_min - y_max) / (y_max - y_min)) ** 2
    hu = random.normal(0, 30, x.shape)
    return np.where(away < 1, hu + HU[str(row["label"])], hu).astype(np.int16)
