"""Metrics files with curves, made by hand."""

from typing import Any

from dsnet.schemas import CLASSES


def report(value: float) -> dict[str, Any]:
    """Return the report of one method; osteopenia has no curve, and there is no temperature."""
    names = ["map", *(f"ap_{name}" for name in CLASSES)]
    names += [f"{unit}_auc_{name}" for unit in ("level", "patient") for name in CLASSES]
    statistic = {"value": value, "low": value - 0.1, "high": None, "by_seed": [value, None]}
    undefined = dict.fromkeys(statistic)
    scaling = {"before": {"ece_debiased": statistic}, "after": {"ece_debiased": undefined}}
    curve = {"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, value, 1.0]}
    roc = {**dict.fromkeys(CLASSES, curve), "osteopenia": None}
    falling = {"recall": [0.0, 0.5, 1.0], "precision": [1.0, value, 0.2]}
    bins = {"confidence": [None, 0.4, 0.9], "accuracy": [None, 0.5, value], "count": [0, 3, 9]}
    band = {"low": [0.0, None, 0.5], "high": [0.2, None, 1.0]}
    pr_band, roc_band = ({name: [0.0, 0.5, 1.0], **band} for name in ("recall", "fpr"))
    roc_bands = {**dict.fromkeys(CLASSES, roc_band), "osteopenia": None}
    matrix = {"rows": list(CLASSES), "columns": [*CLASSES, "missed"]}
    return {
        "cohort": "made",
        "synthetic": True,
        "leaky": True,
        "slices_sha256": "0" * 64,
        "subset": "test",
        "seeds": [0, 1],
        "counts": {"patients": 5, "images": 9, "boxes": 8},
        "interval": {"scope": "patients and trainings (2 seeds)", "resamples": 400},
        "chance": {"p975": None},
        "metrics": {**dict.fromkeys(names, statistic), "level_auc_osteopenia": undefined},
        "calibration": scaling,
        "curves": {
            "pr": {**dict.fromkeys(CLASSES, falling), "osteopenia": None},
            "roc": {"level": roc, "patient": roc},
            "calibration": {"before": bins, "after": None},
            "froc": {
                unit: {f"false_per_{unit}": [0.0, 0.0, 2.0], "sensitivity": [0.0, value, 1.0]}
                for unit in ("image", "patient")
            },
        },
        "bands": {
            "pr": {**dict.fromkeys(CLASSES, pr_band), "osteopenia": None},
            "roc": {"level": roc_bands, "patient": roc_bands},
            "calibration": {
                "before": {"confidence": bins["confidence"], **band},
                "after": None,
            },
            "froc": {
                unit: {f"false_per_{unit}": [0.0, 1.0, 2.0], **band}
                for unit in ("image", "patient")
            },
        },
        "decision": {
            "prevalence": 0.4,
            "threshold": [0.1, 0.2, 0.4],
            "all": [0.3333, 0.25, 0.0],
            "value": [0.35, value / 3, 0.1],
            "low": [0.3, 0.1, -0.1],
            "high": [0.4, 0.39, 0.2],
        },
        "confusion": {
            "box": {
                "rows": [*CLASSES, "false box"],
                "columns": [*CLASSES, "missed"],
                "counts": [[3, 1, 0, 0], [0, 0, 0, 0], [0, 1, 2, 1], [0, 2, 1, 0]],
            },
            **{
                unit: {**matrix, "counts": [[3, 1, 0, 0], [0, 0, 0, 0], [0, 1, 2, 1]]}
                for unit in ("level", "patient")
            },
        },
    }
