"""Predictions of one trained detector: ``python -m dsnet.inference.step``."""

from pathlib import Path

from dsnet import schemas
from dsnet.config.detector import Detector, Variant
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.inference import freeze, predict
from dsnet.detect.model import build
from dsnet.detect.weights import load_trained
from dsnet.evaluate.coco import results, write_compact
from dsnet.evaluate.provenance import read_grid
from dsnet.evaluate.scene import scene
from dsnet.step import run


def predict_subsets(
    *,
    detector: Detector,
    variant: Variant,
    weights: Path,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    test: Path,
    coco_results: Path,
    validation: Path | None = None,
) -> None:
    """Write the detections of a trained detector on the test and validation images.

    In float32 (docs/interpretations.md#9). Those on the validation images serve calibration only.

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
    test : Path
        Written: `schemas.PREDICTIONS`.
    coco_results : Path
        Written: those on the test images in COCO's format, as `dsnet.evaluate.coco.results`.
    validation : Path, optional
        Written: as `test`. An external cohort has no such images.

    Raises
    ------
    UserError
        If the weights are not of this detector, or a subset is empty.
    """
    datasets = {
        subset: SliceDataset(
            subset, store=store, boxes=boxes, split=split, windows=detector.windows
        )
        for subset in ("test", *(["validation"] if validation else []))
    }
    machine = this_machine()
    with reproducible(machine):
        network = build(detector, variant, **read_grid(digest))
        load_trained(network, weights)
        freeze(network.to(machine.device))
        tables = {subset: predict(network, dataset) for subset, dataset in datasets.items()}
    schemas.write(schemas.PREDICTIONS, tables["test"], test)
    if validation:
        schemas.write(schemas.PREDICTIONS, tables["validation"], validation)
    images = datasets["test"]
    write_compact(coco_results, results(scene(tables["test"], images.boxes, images.split)))


if __name__ == "__main__":
    run(predict_subsets)
