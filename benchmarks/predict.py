"""Prediction beside torchvision's own loop, interleaved in one process.

``python benchmarks/predict.py`` prints milliseconds an image for a study of 60 slices: through
`dsnet.predict`, from files to tables; through its detector alone, in torch and in onnxruntime, from
HU to boxes; and through torchvision's detector of the same settings and weights, whose images are
windowed and ready in memory. Loading the model and the study is timed apart. Without ``--run`` the
weights are untrained, and without ``--study`` the slices show no vertebra: what `dsnet.predict`
does beside detecting depends on the number of boxes, which the title says.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ingest import template, write_slices
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console
from rich.table import Table
from training import FIELD_MM, quartiles, reference

import dsnet
from dsnet.config.detector import Detector, Variant
from dsnet.detect.dataset import apply_windows
from dsnet.detect.device import device, this_machine
from dsnet.detect.export import export_onnx, write_model
from dsnet.detect.inference import detect
from dsnet.detect.model import build
from dsnet.processes import cpus
from dsnet.use.predict import image_of
from dsnet.use.trained import Facts, Model

BATCH = 8
"""Images at a time, as `dsnet.predict`."""

WHOLE = "dsnet.predict, files to tables"

Pass = Callable[[], Any]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="resnet50/none, trained on a field of 144 mm")
    parser.add_argument("--size-px", type=int, default=96, help="of the untrained detector")
    parser.add_argument("--proposals", type=int, default=50, help="of the untrained detector")
    parser.add_argument("--study", type=Path, nargs="*", default=[], help="DICOM in place of made")
    parser.add_argument("--slices", type=int, default=60, help="of the made study")
    parser.add_argument("--rounds", type=int, default=9, help="how often each way is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(cpus())  # as onnxruntime
    with tempfile.TemporaryDirectory(prefix="dsnet-bench-") as folder:
        ways, loading = prepare(Path(folder), arguments)
        result = ways[WHOLE]()
        table = timed(ways, len(result.slices), arguments.rounds)
    table.title = (
        f"{len(result.slices)} slices, {len(result.boxes)} boxes, {result.model.facts.size_px} px, "
        f"{this_machine().name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    Console(width=120).print(table)
    print("; ".join(f"{name} {seconds:.2f} s" for name, seconds in loading.items()))


def prepare(
    folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, Pass], dict[str, float]]:
    """Return what predicts all slices once, by name, and the seconds that loading takes."""
    path = arguments.run or untrained(folder / "model.dsnet", arguments)
    if not arguments.study:
        write_slices(folder / "dicom", partial(template, ExplicitVRLittleEndian), arguments.slices)
    files = arguments.study or [folder / "dicom"]
    loading: dict[str, float] = {}

    def load(name: str, act: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = act()
        loading[name] = time.perf_counter() - start
        return made

    study = load("read_study", lambda: dsnet.read_study(*files))
    model = load("load_model", lambda: loaded(path))
    facts = model.facts
    windows = facts.detector.windows
    export_onnx(folder / "m.onnx", facts.model_dump(mode="json"), loaded(path).network(), windows)
    onnx = load("load_model of ONNX", lambda: loaded(folder / "m.onnx"))
    hu = np.stack([image_of(model, study, row)[1] for row in study.index.index])
    images = [apply_windows(one, windows) for one in hu]
    theirs = reference(facts.detector, argparse.Namespace(size_px=facts.size_px))
    theirs.load_state_dict(model.network().state_dict())
    theirs.to(device()).eval()
    check_equal(detect(theirs, images[:1])[0]["scores"].numpy(), model.detect(hu[:1])[0]["scores"])

    def passes(function: Callable[[Any], Any], values: Any, size: int) -> Pass:
        return lambda: [function(values[i : i + size]) for i in range(0, len(values), size)]

    return {
        "torchvision, image by image": passes(partial(detect, theirs), images, 1),
        f"torchvision, batches of {BATCH}": passes(partial(detect, theirs), images, BATCH),
        "dsnet, image by image": passes(model.detect, hu, 1),
        f"dsnet, batches of {BATCH}": passes(model.detect, hu, BATCH),
        "dsnet, ONNX, image by image": passes(onnx.detect, hu, 1),
        f"dsnet, ONNX, batches of {BATCH}": passes(onnx.detect, hu, BATCH),
        WHOLE: partial(dsnet.predict, model, study, force=True),
    }, loading


def untrained(path: Path, arguments: argparse.Namespace) -> Path:
    """Write a model file of an untrained detector."""
    detector = Detector(weights="none", proposals=arguments.proposals)
    grid = {"size_px": arguments.size_px, "pixel_mm": FIELD_MM / arguments.size_px}
    facts = Facts(
        name="resnet50/none/seed0",
        variant=Variant(),
        detector=detector,
        train={},
        cohort="none",
        synthetic=True,
        leaky=False,
        result={},
        start={"source": "none"},
        versions={},
        commit="unknown",
        **grid,
    )
    network = build(detector, facts.variant, **facts.grid, seed=0)
    write_model(path, facts.model_dump(mode="json"), network.state_dict())
    return path


def loaded(path: Path) -> Model:
    """Return a model with its network."""
    model = dsnet.load_model(path)
    _ = model.detect
    return model


def check_equal(theirs: NDArray[np.float32], ours: NDArray[np.float32]) -> None:
    """Stop if the two detectors do not find the same: then their settings are not equal."""
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, atol=1e-3):
        raise SystemExit("torchvision's detector finds other boxes: its settings differ")


def timed(ways: dict[str, Pass], images: int, rounds: int) -> Table:
    """Return the table of all ways, each timed in turn, the order another in each round."""
    names = list(ways)
    milliseconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            ways[name]()
            if number:  # the first warms up
                milliseconds[name].append(1000 * (time.perf_counter() - start) / images)
    first = milliseconds[names[0]]
    table = Table("way", "ms an image", "quartiles", f"times {names[0]}", "quartiles")
    for name, values in milliseconds.items():
        ratios = [one / other for one, other in zip(values, first, strict=True)]
        table.add_row(name, *quartiles(values, 1), *quartiles(ratios, 2))
    return table


if __name__ == "__main__":
    main()
