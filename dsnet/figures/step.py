"""All figures that are drawn from metrics alone."""

from pathlib import Path

from dsnet.figures import confusion, curves
from dsnet.figures.style import Caption, save, styled
from dsnet.tables.entry import Entry, judged_note, read_report

CAPTIONS = {
    "precision_recall": (
        "Precision-recall curves",
        "Precision against recall of each class at IoU 0.5, interpolated as in COCO's AP "
        "(interpretation 13); curves of the first seed, AP as the mean over the seeds.",
    ),
    "roc": (
        "ROC curves",
        "Each class against the rest, by level (A to C) and by patient (D to F), of the detectors "
        "and of bone density in HU within the annotated boxes; curves of the first seed, "
        "area under the curve (AUC) as the mean over the seeds.",
    ),
    "calibration": (
        "Calibration",
        "Accuracy against confidence, the probability of the likeliest class, of the boxes found, "
        "in bins of equal width; a mark is as large as the share of the boxes in its bin. On the "
        "grey line a detector is as sure as it is right. Temperature fitted on the validation "
        "part. Curves of the first seed, expected calibration error (ECE) as the mean over the "
        "seeds.",
    ),
    "froc": (
        "Free-response ROC curves",
        "Share of the vertebrae found, whatever their class, against false boxes: by image, where "
        "each box counts (A), and by patient, where a vertebra is found when it is found on any of "
        "its slices (B). First seed. The sensitivity axis is cut; that of false boxes is "
        "logarithmic beyond 0.1.",
    ),
    "confusion_box": (
        "Confusion matrices of boxes",
        "Boxes matched regardless of class (interpretation 14); annotated boxes "
        "without a match are missed, detections without one are false boxes. Counts, and percent "
        "of the row. First seed.",
    ),
    "confusion_level": (
        "Confusion matrices of levels",
        "Each level of each patient, from the boxes found of it on all slices. Counts, and percent "
        "of the row. First seed.",
    ),
    "confusion_patient": (
        "Confusion matrices of patients",
        "Each patient, from all boxes on all slices. Counts, and percent of the row. First seed.",
    ),
}
"""Title and text of each figure."""


def draw(*, variants: str, baselines: str, metrics: Path, folder: Path) -> None:
    """Write every figure of `CAPTIONS` as ``{name}.png``, ``.svg`` and ``.json`` (its caption).

    Parameters
    ----------
    variants : str
        Detectors in order, with commas between: ``resnet50/none,resnet50/se``.
    baselines : str
        Methods without boxes of their own, ``hu/...``, that stand among the ROC curves.
    metrics : Path
        Folder of ``{backbone}/{attention}.json`` and ``hu/....json``.
    folder : Path
        Where the figures go.
    """
    entries, others = (
        [Entry(name, read_report(metrics, name)) for name in names.split(",")]
        for names in (variants, baselines)
    )
    data = judged_note(entries[0].report)
    with styled():
        figures = {
            "precision_recall": curves.precision_recall(entries),
            "roc": curves.roc([*entries, *others]),
            "calibration": curves.calibration(entries),
            "froc": curves.froc(entries),
            **{
                f"confusion_{unit}": confusion.drawn(entries, unit)
                for unit in ("box", "level", "patient")
            },
        }
        for name, figure in figures.items():
            save(figure, folder, name, Caption(*CAPTIONS[name], data))
