"""From lumbar-spine CT, DXA and annotations to detectors and tables that can be trusted.

Not a medical device. The names below are the public ones; each is loaded when it is first used.

Examples
--------
>>> import dsnet
>>> model = dsnet.load_model("results/models/resnet50/ds/seed0")
>>> study = dsnet.read_study("exports/CT.zip")
>>> boxes = dsnet.predict(model, study).boxes
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsnet.cohort.annotations.collect import collect as read_annotations
    from dsnet.cohort.dxa import read_dxa
    from dsnet.detect.attention import DS, ECA, SE, SK
    from dsnet.detect.model import build as build_detector
    from dsnet.evaluate.step import compute_metrics
    from dsnet.exclude.criteria import CRITERIA
    from dsnet.results import load_results
    from dsnet.use.levels import parse_levels
    from dsnet.use.predict import predict
    from dsnet.use.study import read_study
    from dsnet.use.trained import load_model

try:
    __version__ = version("dsnet")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0"

__all__ = [
    "CRITERIA",
    "DS",
    "ECA",
    "SE",
    "SK",
    "build_detector",
    "compute_metrics",
    "load_model",
    "load_results",
    "parse_levels",
    "predict",
    "read_annotations",
    "read_dxa",
    "read_study",
]

_MODULES = {
    "CRITERIA": ("dsnet.exclude.criteria", "CRITERIA"),
    "DS": ("dsnet.detect.attention", "DS"),
    "ECA": ("dsnet.detect.attention", "ECA"),
    "SE": ("dsnet.detect.attention", "SE"),
    "SK": ("dsnet.detect.attention", "SK"),
    "build_detector": ("dsnet.detect.model", "build"),
    "compute_metrics": ("dsnet.evaluate.step", "compute_metrics"),
    "load_model": ("dsnet.use.trained", "load_model"),
    "load_results": ("dsnet.results", "load_results"),
    "parse_levels": ("dsnet.use.levels", "parse_levels"),
    "predict": ("dsnet.use.predict", "predict"),
    "read_annotations": ("dsnet.cohort.annotations.collect", "collect"),
    "read_dxa": ("dsnet.cohort.dxa", "read_dxa"),
    "read_study": ("dsnet.use.study", "read_study"),
}


def __getattr__(name: str) -> Any:
    """Return a public name, and load its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MODULES[name]
    return getattr(import_module(module), attribute)
