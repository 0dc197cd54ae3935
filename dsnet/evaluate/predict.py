"""Predictions of one trained detector: ``python -m dsnet.evaluate.predict``."""

import json
from pathlib import Path

from dsnet import contract
from dsnet.config import Detector, Variant
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.model import build
from dsnet.detect.part import Part
from dsnet.detect.predict import predict
from dsnet.detect.weights import load_trained
from dsnet.step import run


def predict_part(
    *,
    detector: Detector,
    variant: Variant,
    weights: Path,
    part: str,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    predictions: Path,
) -> None:
    """Write what a trained detector finds on the images of one part, in float32 (reading 9).

    Parameters
    ----------
    detector : Detector
        As in training.
    variant : Variant
    weights : Path
        From `dsnet.train.step.train`.
    part : str
        One of `contract.PARTS`.
    digest : Path
        ``slices.json``: what the store holds.
    store, boxes, split : Path
        The slice store, `contract.SLICES` and `contract.SPLIT`.
    predictions : Path
        Written: `contract.PREDICTIONS`.

    Raises
    ------
    UserError
        If the weights are not of this detector, or the part is empty.
    """
    grid = json.loads(digest.read_text(encoding="utf-8"))
    images = Part(part, store=store, boxes=boxes, split=split, windows=detector.windows)
    machine = this_machine()
    with reproducible(machine):
        network = build(detector, variant, size_px=grid["size_px"], pixel_mm=grid["pixel_mm"])
        load_trained(network, weights)
        found = predict(network.to(machine.device), images)
    contract.write(contract.PREDICTIONS, found, predictions)


if __name__ == "__main__":
    run(predict_part)
