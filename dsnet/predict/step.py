"""Predictions of one trained detector: ``python -m dsnet.predict.step``."""

from pathlib import Path

from dsnet import schemas
from dsnet.config.detector import Detector, Variant
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.model import build
from dsnet.detect.part import Part
from dsnet.detect.predict import predict
from dsnet.detect.weights import load_trained
from dsnet.evaluate.coco import results, write_compact
from dsnet.evaluate.provenance import read_grid
from dsnet.evaluate.scene import scene
from dsnet.step import run


def predict_parts(
    *,
    detector: Detector,
    variant: Variant,
    weights: Path,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    test: Path,
    validation: Path,
    coco_results: Path,
) -> None:
    """Write what a trained detector finds on the test and validation images.

    In float32 (docs/interpretations.md#9). What it finds on the validation part serves calibration
    alone.

    Parameters
    ----------
    detector : Detector
        As in training.
    variant : Variant
    weights : Path
        From `dsnet.train.step.train`.
    digest : Path
        ``slices.json``: what the store holds.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    test, validation : Path
        Written: `schemas.PREDICTIONS`.
    coco_results : Path
        Written: those of the test part in COCO's format, as `dsnet.evaluate.coco.results`.

    Raises
    ------
    UserError
        If the weights are not of this detector, or a part is empty.
    """
    parts = {
        name: Part(name, store=store, boxes=boxes, split=split, windows=detector.windows)
        for name in ("test", "validation")
    }
    machine = this_machine()
    with reproducible(machine):
        network = build(detector, variant, **read_grid(digest))
        load_trained(network, weights)
        network.to(machine.device)
        found = {name: predict(network, part) for name, part in parts.items()}
    schemas.write(schemas.PREDICTIONS, found["test"], test)
    schemas.write(schemas.PREDICTIONS, found["validation"], validation)
    judged = scene(found["test"], parts["test"].boxes, parts["test"].split)
    write_compact(coco_results, results(judged))


if __name__ == "__main__":
    run(predict_parts)
