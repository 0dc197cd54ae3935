"""The configuration, as types: every key, its range and its meaning.

One model per step, so that a step receives, and is re-run for, its own part alone. This module is
read whenever the workflow is parsed and so imports nothing heavy.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dsnet.errors import UserError

Attention = Literal["none", "se", "sk", "ds"]
Backbone = Literal["resnet50"]

_Positive = Annotated[int, Field(ge=1)]
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the config; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Phantom(Section):
    """The built-in synthetic cohort."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 2022
    patients_per_class: Annotated[int, Field(ge=5, le=1000)] = 36
    matrix_px: Annotated[int, Field(ge=128, le=1024)] = 256
    slices_per_level: Annotated[int, Field(ge=2, le=20)] = 2


class Ingest(Section):
    """Reading of headers and pixel evidence."""

    processes: Annotated[int, Field(ge=0)] = 0
    metal_hu: Annotated[float, Field(ge=1000, le=30000)] = 2500
    cement_hu: Annotated[float, Field(ge=500, le=30000)] = 1500


class Criterion(Section):
    """A criterion that can only be switched off."""

    enabled: bool = True


class NotOriginalAxial(Criterion):
    """Tilt of the slice off the axial plane."""

    max_tilt_deg: Annotated[float, Field(ge=0, le=90)] = 5.0


class BadGeometry(Criterion):
    """Missing or impossible geometry; uneven slice spacing."""

    irregular_spacing: Literal["review", "exclude", "ignore"] = "review"


class NotBoneKernel(Criterion):
    """Reconstruction kernel."""

    unknown_kernel: Literal["review", "exclude", "keep"] = "review"
    bone_kernels: dict[str, tuple[str, ...]] = {}


class MetalArtefact(Criterion):
    """Implants and what they do to an image."""

    min_area_mm2: Annotated[float, Field(gt=0)] = 10.0
    scope: Literal["patient", "image"] = "patient"


class Cement(Criterion):
    """Bone cement; no sourced threshold, hence review only."""

    min_area_mm2: Annotated[float, Field(gt=0)] = 30.0


class DxaTooFar(Criterion):
    """Interval between CT and DXA."""

    max_interval_days: Annotated[int, Field(ge=0)] = 180


class IncompleteLevels(Criterion):
    """Lumbar levels that a patient must still have after all other criteria."""

    min_levels: Annotated[int, Field(ge=1, le=4)] = 1


class Criteria(Section):
    """Every criterion by its slug, in the order in which they count."""

    unreadable: Criterion = Criterion()
    undecodable_pixels: Criterion = Criterion()
    duplicate: Criterion = Criterion()
    not_ct: Criterion = Criterion()
    not_original_axial: NotOriginalAxial = NotOriginalAxial()
    bad_geometry: BadGeometry = BadGeometry()
    no_hu_scale: Criterion = Criterion()
    contrast_enhanced: Criterion = Criterion()
    not_bone_kernel: NotBoneKernel = NotBoneKernel()
    metal_artefact: MetalArtefact = MetalArtefact()
    cement: Cement = Cement()
    no_annotation: Criterion = Criterion()
    not_lumbar: Criterion = Criterion()
    no_dxa: Criterion = Criterion()
    no_t_score: Criterion = Criterion()
    dxa_too_far: DxaTooFar = DxaTooFar()
    dxa_date_unknown: Criterion = Criterion()
    fracture_history: Criterion = Criterion()
    spine_surgery: Criterion = Criterion()
    tumour: Criterion = Criterion()
    bone_hyperplasia: Criterion = Criterion()
    incomplete_levels: IncompleteLevels = IncompleteLevels()


class Label(Section):
    """From T-score to WHO class (reading 17 and 18)."""

    reading: Literal["patient", "vertebra", "lowest"] = "patient"


class Exclude(Section):
    """Exclusion criteria and the reading of unknown histories (reading 22)."""

    unknown_history: Literal["keep", "exclude"] = "keep"
    criteria: Criteria = Criteria()


class Split(Section):
    """The patient-level split (reading 11)."""

    seed: Annotated[int, Field(ge=0)] = 0
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    min_patients_per_class: Annotated[int, Field(ge=3)] = 3


class Slices(Section):
    """The in-plane grid on which included slices are stored."""

    size_px: Annotated[int, Field(ge=32, le=2048)] = 128
    pixel_mm: Annotated[float, Field(gt=0, le=10)] = 1.5


class Detector(Section):
    """The Faster R-CNN around the attention module (readings 1 to 8, 21)."""

    weights: str = "none"
    window_centre_hu: float = 300.0
    window_width_hu: _Length = 1500.0
    anchor_mm: Annotated[tuple[float, ...], Field(min_length=5, max_length=5)] = (
        16.0,
        32.0,
        48.0,
        64.0,
        96.0,
    )
    proposals: _Positive = 200
    roi_samples: _Positive = 32
    trainable_layers: Annotated[int, Field(ge=0, le=5)] | None = None
    loss: Literal["dice", "ce", "dice_ce"] = "dice"
    include_background: bool = False
    init: Literal["identity", "plain"] = "identity"


class Train(Section):
    """How one detector is trained (readings 9 and 10)."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    epochs: _Positive = 100
    batch_size: _Positive = 9
    learning_rate: _Length = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    schedule: Literal["constant", "cosine"] = "constant"
    gradient_clip: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    keep: Literal["best", "last"] = "best"
    flip_probability: _Fraction = 0.5


class Evaluate(Section):
    """How predictions become numbers (readings 13 to 16)."""

    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    score: _Fraction = 0.5
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    permutations: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    speed_images: _Positive = 20
    speed_warmup: Annotated[int, Field(ge=0)] = 3


class Config(Section):
    """Everything, in the order of the pipeline."""

    cohort: Path
    results: Path = Path("results")
    private: Path = Path("data/private")
    phantom: Phantom = Phantom()
    ingest: Ingest = Ingest()
    exclude: Exclude = Exclude()
    label: Label = Label()
    split: Split = Split()
    slices: Slices = Slices()
    detector: Detector = Detector()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()


def load(values: Mapping[str, Any]) -> Config:
    """Return the checked configuration.

    Raises
    ------
    UserError
        Naming every wrong key, its value and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(
            "config",
            expected="the keys and values of config/config.yaml",
            came=explain(error),
            remedy="correct the config file or --config",
        ) from error


def explain(error: ValidationError) -> str:
    """Return, in one line, which keys are wrong, what they hold and what is allowed."""
    return "; ".join(_explain_one(dict(item)) for item in error.errors())


def _explain_one(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key} = {item['input']!r} ({_known(item['loc'])})"
    if item["type"] == "missing":
        return f"no key {key}"
    return f"{key} = {item['input']!r} ({item['msg'].lower()})"


def _known(location: tuple[str | int, ...]) -> str:
    """Return the keys allowed at the place of a misspelt one, the likeliest first."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        candidate = (
            section.model_fields[str(part)].annotation
            if str(part) in section.model_fields
            else None
        )
        if not (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
            break
        section = candidate
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
