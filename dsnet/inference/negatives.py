"""False boxes of one trained detector on negatives: ``python -m dsnet.inference.negatives``."""

from pathlib import Path

from dsnet.config.detector import Detector, Variant
from dsnet.config.evaluate import Evaluate
from dsnet.detect.dataset import Negatives
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.inference import freeze, predict
from dsnet.detect.model import build
from dsnet.detect.weights import load_trained
from dsnet.evaluate.curves import false_boxes
from dsnet.evaluate.provenance import read_grid, read_provenance
from dsnet.evaluate.scene import read_scenes
from dsnet.files import write_json
from dsnet.step import run


def predict_negatives(
    *,
    detector: Detector,
    evaluate: Evaluate,
    variant: Variant,
    weights: Path,
    digest: Path,
    boxes: Path,
    split: Path,
    test: Path,
    store: Path,
    table: Path,
    report: Path,
) -> None:
    """Write the false boxes on test slices without L1 to L4, and FROC with these images.

    Parameters
    ----------
    detector, evaluate, variant : Detector, Evaluate, Variant
    weights : Path
    digest, boxes, split : Path
        Of the slice store.
    test : Path
        Predictions on the annotated test images.
    store, table : Path
        As `dsnet.slices.negatives.store_negatives` wrote them.
    report : Path
        Written: provenance, and what `dsnet.evaluate.curves.false_boxes` returns, as JSON.
    """
    negatives = Negatives("test", store, table, detector.windows)
    machine = this_machine()
    with reproducible(machine):
        network = build(detector, variant, **read_grid(digest))
        load_trained(network, weights)
        predictions = predict(freeze(network.to(machine.device)), negatives)
    (annotated,) = read_scenes([test], boxes, split, "test")
    found = false_boxes(annotated, negatives.table, predictions, evaluate)
    write_json(report, {**read_provenance(digest, split), "subset": "test", **found})


if __name__ == "__main__":
    run(predict_negatives)
