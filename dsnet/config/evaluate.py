"""Sections of what is computed from predictions."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from dsnet.config import Fraction, Positive, Section
from dsnet.config.detector import Variant

PatientLabel = Literal["mean_probability", "majority", "worst"]
"""How boxes become the one label of a level or patient."""


class Evaluate(Section):
    """How predictions become numbers (interpretations 13 to 16)."""

    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Overlap from which a vertebra counts as localised."""
    score: Fraction = 0.5
    """Score from which a detection counts for recall and accuracy (interpretation 14)."""
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    """Resamples of patients for the 95 % intervals."""
    permutations: Annotated[int, Field(ge=100)] = 1000
    """Permutations of the patients' classes for the chance level."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of both."""
    patient_label: PatientLabel = "mean_probability"
    """How the localised boxes of a level, or of a patient, become one label: mean_probability;
    majority (each box votes for its likeliest class); worst (the most severe box, for which no
    osteoporosis may be overlooked).
    """
    speed_images: Positive = 20
    """Slices timed with each detector in turn (interpretation 16)."""
    speed_warmup: Annotated[int, Field(ge=0)] = 3
    """Slices before the clock starts."""


class Baseline(Section):
    """Grading by Hounsfield units: where a body is measured, and Pickhardt's thresholds."""

    core_width_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Where HU are measured, as fractions of a vertebra's box: an ellipse over the trabecular bone
    in front, off the cortical shell and the veins behind. Its width,
    """
    core_depth_fraction: Annotated[float, Field(gt=0, le=1)] = 0.4
    """its depth,"""
    core_centre_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.42
    """and its centre, from the front edge. A larger ellipse averages more bone, and takes in
    cortex.
    """
    rim_fraction: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Cortical rim: outer share of the half axes of the ellipse that fills the box."""
    normal_hu: float = 160.0
    """Mean HU of the core from which bone counts as normal: Pickhardt 2013, sensitive threshold."""
    balanced_hu: float = 135.0
    """The balanced threshold there, evaluated as a rule for osteoporosis alone."""
    osteoporosis_hu: float = 110.0
    """Below this: osteoporosis; the specific threshold there."""

    @field_validator("osteoporosis_hu")
    @classmethod
    def _below_normal(cls, threshold_hu: float, known: ValidationInfo) -> float:
        if threshold_hu >= known.data.get("normal_hu", float("inf")):
            raise ValueError("below normal_hu, or no HU is left for osteopenia")
        return threshold_hu


class Leakage(Section):
    """What a split by image would add to the figures, and shuffled labels.

    docs/interpretations.md#11
    """

    detector: Variant = Variant(backbone="mobilenet_v2")
    """The detector that is trained twice more: on a split by image, and on
    shuffled training labels.
    """
    shuffles: Annotated[int, Field(ge=20)] = 100
    """Shufflings of the labels that each HU model learns from, as a control."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the shufflings."""
