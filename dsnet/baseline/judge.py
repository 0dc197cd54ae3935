"""A baseline judged as detectors are, on the same resamples of the same patients."""

from typing import Any

import pandas as pd

from dsnet.baseline.detections import as_detections
from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.matching import Floats
from dsnet.evaluate.metrics import UNITS
from dsnet.evaluate.report import report
from dsnet.evaluate.scene import Scene, scene

_CURVES = ("roc", "calibration")


def scene_of(
    measured: pd.DataFrame, probability: Floats, *, drawn: pd.DataFrame, split: pd.DataFrame
) -> Scene:
    """Return what a baseline calls the boxes of one part, as a detector's scene.

    Parameters
    ----------
    measured : DataFrame
        Measured rows as `dsnet.baseline.features.annotated` returns them, of any part.
    probability : float64 (n, 3)
        Their classes; rows sum to 1.
    drawn, split : DataFrame
        `schemas.SLICES`, and the rows of `schemas.SPLIT` of the part wanted.
    """
    return scene(as_detections(measured, probability), drawn, split)


def judge(test: Scene, validation: Scene, params: Evaluate, *, given: bool) -> dict[str, Any]:
    """Return what the metrics file says of a baseline, in the form of a detector's.

    Nothing is drawn by lot, so there are no seeds. Boxes that were given say nothing of finding
    them: then only what is graded by its class stays, and ``chance`` speaks of the mean average
    precision with which the classes rank the given boxes.

    Parameters
    ----------
    test, validation : Scene
        The part to judge on, and that to calibrate on.
    params : Evaluate
    given : bool
        Whether the test part's boxes are the annotated ones.
    """
    told = report([test], [validation], [0], params)
    kept = [name for name in told["metrics"] if not given or name.split("_")[0] in UNITS]
    told["seeds"] = []
    told["metrics"] = {name: {**told["metrics"][name], "by_seed": []} for name in kept}
    told["definitions"] = {name: told["definitions"][name] for name in kept}
    if given:
        told["curves"] = {name: told["curves"][name] for name in _CURVES}
    return told
