"""The configuration, as types: every key, its range and its meaning.

One model per step, so that a step receives, and is re-run for, its own part alone. This module is
read whenever the workflow is parsed and so imports nothing heavy.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from dsnet.errors import UserError

Attention = Literal["none", "se", "sk", "eca", "ds"]
Backbone = Literal["resnet50", "vgg16", "mobilenet_v2", "mobilenet_v3_large"]
TScoreSource = Literal["patient", "vertebra", "lowest"]
"""Which T-score labels a vertebra: the patient's L1-L4, its own, or the lowest.

docs/interpretations.md#17
"""

PatientLabel = Literal["mean_probability", "majority", "worst"]
"""How boxes become the one label of a level or patient."""

Vendor = Literal["ge", "siemens", "philips", "canon", "other", "unknown"]

_Positive = Annotated[int, Field(ge=1)]
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the config; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Phantom(Section):
    """The built-in synthetic cohort."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 2026
    patients_per_class: Annotated[int, Field(ge=5, le=1000)] = 36
    matrix_px: Annotated[int, Field(ge=128, le=1024)] = 256
    slices_per_level: Annotated[int, Field(ge=2, le=20)] = 2


class Ingest(Section):
    """Reading headers and pixel evidence."""

    # 0: one per CPU, at most 8.
    processes: Annotated[int, Field(ge=0)] = 0
    # From where on a pixel counts as metal (docs/interpretations.md#22), and as dense enough for
    # bone cement.
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
    # Share of a series' gaps that may differ by more than 10 % from its median gap.
    max_irregular_fraction: _Fraction = 0.2


class NotBoneKernel(Criterion):
    """Reconstruction kernel."""

    unknown_kernel: Literal["review", "exclude", "keep"] = "review"
    # By vendor, names to add to the built-in table, compared without regard to case.
    bone_kernels: dict[Vendor, tuple[str, ...]] = {}


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


Region = Literal["L1", "L2", "L3", "L4", "L1-L4"]

DXA_COLUMNS = (
    "patient_id",
    "exam_date",
    *(
        f"{region}_{quantity}"
        for quantity in ("t_score", "bmd_g_cm2", "invalid")
        for region in get_args(Region)
    ),
)
"""What the DXA table may hold, by the names of this project."""


class BmdReference(Section):
    """Young adults against whom a bone mineral density becomes a T-score."""

    mean_g_cm2: _Length
    sd_g_cm2: _Length


class DxaReference(Section):
    """A reference population, by the name that every table then prints."""

    name: Annotated[str, Field(min_length=3, max_length=80)]
    regions: Annotated[dict[Region, BmdReference], Field(min_length=1)]


class Dxa(Section):
    """How the DXA table is read (docs/interpretations.md#18)."""

    preset: Literal["dsnet", "ge_lunar", "hologic"] = "dsnet"
    # Own names of columns, by this project's.
    columns: dict[str, Annotated[str, Field(min_length=1)]] = {}
    # Of dates that are not ISO, as Python's strptime reads it.
    date_format: str = "%Y-%m-%d"
    # ISCD: a level more than 1.0 T from each of its neighbours leaves the lumbar mean.
    outlier_levels: Literal["keep", "leave_out"] = "keep"
    # With one, T-scores come from BMD alone; without, from the T-scores of the table alone.
    reference: DxaReference | None = None

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        strange = sorted(set(columns) - set(DXA_COLUMNS))
        if strange:
            raise ValueError(f"no column {strange[0]}: known are {', '.join(DXA_COLUMNS)}")
        return columns

    @field_validator("date_format")
    @classmethod
    def _whole_date(cls, text: str) -> str:
        if not all(part in text for part in ("%d", "%m")) or not ("%Y" in text or "%y" in text):
            raise ValueError("a date format with %d, %m and %Y, such as %d.%m.%Y")
        return text


class Label(Section):
    """From T-score to WHO class (docs/interpretations.md#17 and #18)."""

    t_score: TScoreSource = "patient"


Level = Annotated[str, Field(pattern=r"^(C[1-7]|T([1-9]|1[0-2])|L[1-6]|S[1-5])$")]


class Annotations(Section):
    """Boxes and masks of vertebral bodies, in whatever format (docs/annotations.md)."""

    # What a NIfTI mask's labels mean: a preset, a map, or None for files that name them.
    mask_labels: Literal["totalsegmentator", "verse", "tptbox"] | dict[int, Level] | None = None
    # Names of levels beyond the usual spellings; "ignore" leaves an annotation out on purpose.
    level_names: dict[str, Level | Literal["ignore"]] = {}
    # Connected mask areas of a slice below this are no vertebral body.
    min_area_mm2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0
    # Overlap (IoU) below which two boxes of one level on one image are in conflict.
    conflict_iou: Annotated[float, Field(gt=0, le=1)] = 0.9
    conflict: Literal["stop", "report"] = "stop"
    # An annotation without an image or without a known level.
    unmatched: Literal["stop", "report"] = "stop"
    # What Pascal VOC files hold: pixel numbers from 1, or edges from 0 as labelImg writes them.
    voc: Literal["pixels", "edges"] = "pixels"


class Exclude(Section):
    """Exclusion criteria and the reading of unknown histories (docs/interpretations.md#22)."""

    unknown_history: Literal["keep", "exclude"] = "keep"
    criteria: Criteria = Criteria()


class Split(Section):
    """The patient-level split (docs/interpretations.md#11)."""

    # image: exists to measure leakage; all that it touches says LEAKY.
    unit: Literal["patient", "image"] = "patient"
    seed: Annotated[int, Field(ge=0)] = 0
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    min_patients_per_class: Annotated[int, Field(ge=3)] = 3
    # A split made elsewhere: a CSV file with the columns patient_key (pseudonym) and part.
    file: Path | None = None

    @field_validator("file")
    @classmethod
    def _of_patients(cls, file: Path | None, known: ValidationInfo) -> Path | None:
        if file is not None and known.data.get("unit") == "image":
            raise ValueError("an imported split is by patient: leave split.unit at patient")
        return file


class Slices(Section):
    """The in-plane grid on which included slices are stored."""

    size_px: Annotated[int, Field(ge=32, le=2048)] = 128
    pixel_mm: Annotated[float, Field(gt=0, le=10)] = 1.5
    # 0: one per CPU.
    processes: Annotated[int, Field(ge=0)] = 0


class AttentionOptions(Section):
    """The attention module and where it stands (readings 1 to 6)."""

    # identity: y = x + gamma * A(x) with gamma starting at 0; plain: y = A(x).
    init: Literal["identity", "plain"] = "identity"
    # Backbone stages after which a module stands; None: the sites of docs/interpretations.md#6.
    sites: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    # Groups of the spatial convolutions of SK and DS, at most.
    groups: _Positive = 32
    # The branch of large scale of SK and DS.
    branch5: Literal["conv5", "dilated3"] = "conv5"
    # The rest is for DS alone.
    fuse: Literal["dilated3", "none"] = "dilated3"
    gate: Literal["sigmoid", "linear", "softmax"] = "sigmoid"
    reduction: _Positive = 1
    second_gate: bool = False


class Window(Section):
    """A window of Hounsfield units; its edges become 0 and 1."""

    centre_hu: float = 300.0
    width_hu: _Length = 1500.0


class Detector(Section):
    """The Faster R-CNN around the attention module (readings 1 to 8, 21)."""

    # Whether the backbone gives a pyramid of maps, or one map; auto: docs/interpretations.md#7.
    fpn: Literal["auto"] | bool = "auto"
    # What training starts from: none, imagenet, coco, paper (docs/interpretations.md#7: coco for
    # ResNet50, imagenet
    # for the others), or the path of a state dict.
    weights: str = "none"
    # Checked when given; for a path only.
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    # auto: frozen when pretrained, else trained with the batch, as torchvision does.
    norm: Literal["auto", "frozen", "batch"] = "auto"
    # Parts of the backbone that train, from the last: ResNet50 and VGG16 have 5, MobileNets 6.
    # None: all when not pretrained, else torchvision's.
    trainable_layers: Annotated[int, Field(ge=0, le=6)] | None = None
    # One window for all three channels, or one for each.
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=3)] = (Window(),)
    # Edge length of the anchors of each pyramid level; one map has them all.
    anchor_mm: Annotated[tuple[_Length, ...], Field(min_length=5, max_length=5)] = (
        16.0,
        32.0,
        48.0,
        64.0,
        96.0,
    )
    # Kept of each pyramid level (of one map: for each edge length) before suppression, and of each
    # image after it.
    proposals: _Positive = 200
    # Proposals of each image that the head learns from.
    roi_samples: _Positive = 32
    loss: Literal["dice", "ce", "dice_ce"] = "dice"
    # Whether dice counts the background as a class of its own.
    include_background: bool = False
    attention: AttentionOptions = AttentionOptions()

    @field_validator("windows")
    @classmethod
    def _one_or_three(cls, windows: tuple[Window, ...]) -> tuple[Window, ...]:
        if len(windows) == 2:
            raise ValueError("one window, or three for the three channels")
        return windows


class Variant(Section):
    """Which of the detectors of a table."""

    backbone: Backbone = "resnet50"
    attention: Attention = "none"


class Train(Section):
    """How one detector is trained (readings 9, 10 and 12)."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    epochs: _Positive = 100
    # Of all devices together. At least two on each: batch norm over the pooled vectors of SK has no
    # spread in a single image.
    batch_size: Annotated[int, Field(ge=2)] = 9
    # Against unequal classes, in the training part alone (docs/interpretations.md#12).
    balance: Literal["none", "downsample", "weighted"] = "none"
    learning_rate: _Length = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    # After warm-up: constant; a tenth after 60 % and again after 85 % of the steps; or cosine to 0.
    schedule: Literal["constant", "step", "cosine"] = "constant"
    # Largest norm of all gradients together; 0 for no limit.
    gradient_clip: Annotated[float, Field(ge=0)] = 0.0
    # auto: bf16 where the device computes in it, else 32.
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    # Which epoch's weights count: the best on the validation part, or the last.
    keep: Literal["best", "last"] = "best"
    # Epochs from one look at the validation part to the next; the last epoch is always looked at.
    validate_every: _Positive = 1
    # Epochs without a better validation after which training ends; 0: it never ends early.
    patience_epochs: Annotated[int, Field(ge=0)] = 0
    # Of each node; auto: all GPUs that there are, or one process on the CPU.
    devices: Literal["auto"] | _Positive = 1
    nodes: _Positive = 1
    # Augmentation; 0 switches each off.
    flip_probability: _Fraction = 0.5
    rotation_deg: Annotated[float, Field(ge=0, le=30)] = 0.0
    scale_fraction: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    noise_hu: Annotated[float, Field(ge=0, le=500)] = 0.0
    shift_hu: Annotated[float, Field(ge=0, le=500)] = 0.0


class Evaluate(Section):
    """How predictions become numbers (readings 13 to 16)."""

    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    score: _Fraction = 0.5
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    permutations: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    patient_label: PatientLabel = "mean_probability"
    speed_images: _Positive = 20
    speed_warmup: Annotated[int, Field(ge=0)] = 3


class Baseline(Section):
    """Grading by Hounsfield units: where a body is measured, and Pickhardt's thresholds."""

    # An ellipse: its axes, and its centre from the front, as fractions of the box.
    core_width_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    core_depth_fraction: Annotated[float, Field(gt=0, le=1)] = 0.4
    core_centre_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.42
    # Of the half axes of the ellipse that fills the box.
    rim_fraction: Annotated[float, Field(gt=0, le=1)] = 0.15
    normal_hu: float = 160.0
    balanced_hu: float = 135.0
    osteoporosis_hu: float = 110.0

    @field_validator("osteoporosis_hu")
    @classmethod
    def _below_normal(cls, threshold_hu: float, known: ValidationInfo) -> float:
        if threshold_hu >= known.data.get("normal_hu", float("inf")):
            raise ValueError("below normal_hu, or no HU is left for osteopenia")
        return threshold_hu


class Report(Section):
    """What the report shows."""

    # Images drawn small; 0 draws none.
    thumbnails: Annotated[int, Field(ge=0, le=2000)] = 240
    # Of cohorts that are not synthetic: fewer patients of one sex or age than this are hidden.
    min_cell: Annotated[int, Field(ge=0)] = 5


class Leakage(Section):
    """What a split by image would add to the figures, and labels drawn by lot.

    docs/interpretations.md#11
    """

    # The one detector that is trained on the leaky split and on shuffled labels.
    detector: Variant = Variant(backbone="mobilenet_v2")
    # Lots of labels for each HU model.
    shuffles: Annotated[int, Field(ge=20)] = 100
    seed: Annotated[int, Field(ge=0)] = 0


class Deidentify(Section):
    """Included slices as DICOM that identifies nobody (PS3.15)."""

    # 0: one per CPU.
    processes: Annotated[int, Field(ge=0)] = 0


class PhiCheck(Section):
    """The search of all outputs for identifying values."""

    # 0: one per CPU.
    processes: Annotated[int, Field(ge=0)] = 0


class Config(Section):
    """Everything, in the order of the pipeline."""

    cohort: Path
    results: Path = Path("results")
    private: Path = Path("data/private")
    phantom: Phantom = Phantom()
    ingest: Ingest = Ingest()
    annotations: Annotations = Annotations()
    exclude: Exclude = Exclude()
    dxa: Dxa = Dxa()
    label: Label = Label()
    split: Split = Split()
    slices: Slices = Slices()
    detector: Detector = Detector()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    baseline: Baseline = Baseline()
    leakage: Leakage = Leakage()
    report: Report = Report()
    deidentify: Deidentify = Deidentify()
    phi_check: PhiCheck = PhiCheck()


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


def explain(error: ValidationError, model: type[BaseModel] = Config) -> str:
    """Return, in one line, which keys of `model` are wrong, what they hold and what is allowed."""
    return "; ".join(_explain_one(dict(item), model) for item in error.errors())


def _explain_one(item: dict[str, Any], model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key} = {item['input']!r} ({_known(item['loc'], model)})"
    if item["type"] == "missing":
        return f"no key {key}"
    return f"{key} = {item['input']!r} ({item['msg'].lower()})"


def _known(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Return the keys allowed at the place of a misspelt one, the likeliest first."""
    section = model
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
