"""Sections of the detector and its training."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from dsnet.config import Fraction, Length, Positive, Section

Attention = Literal["none", "se", "sk", "eca", "ds"]
Backbone = Literal["resnet50", "vgg16", "mobilenet_v2", "mobilenet_v3_large"]


class AttentionOptions(Section):
    """The attention module and where it stands (interpretations 1 to 6)."""

    init: Literal["identity", "plain"] = "identity"
    """identity: y = x + gamma A(x) with gamma from 0; plain: y = A(x) (interpretation 5)."""
    gamma: Literal["positive", "free"] = "positive"
    """positive: never below 0, where it would turn a gate round; free: of either sign
    (interpretation 5).
    """
    sites: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Backbone stages after which a module stands, by their names in torchvision: [layer4], or
    ["18"] for features[18]; null is the paper's (interpretation 6).
    """
    groups: Positive = 32
    """Groups of SK's and DS's spatial convolutions, at most (interpretation 4)."""
    branch5: Literal["conv5", "dilated3"] = "conv5"
    """The wide branch: conv5 or dilated3 (interpretation 1)."""
    fuse: Literal["dilated3", "none"] = "dilated3"
    """DS: convolution after the sum, dilated3 or none (interpretation 1)."""
    gate: Literal["sigmoid", "linear", "softmax"] = "sigmoid"
    """DS: sigmoid, linear or softmax (interpretation 2)."""
    reduction: Positive = 1
    """DS: by how much the gate narrows its channels (interpretation 2)."""
    second_gate: bool = False
    """DS: a third weighting after the fusion (interpretation 3)."""


class Window(Section):
    """A window of Hounsfield units; its edges become 0 and 1."""

    centre_hu: float = 300.0
    """Hounsfield units in the middle of the window."""
    width_hu: Length = 1500.0
    """From its lower to its upper edge."""


class Detector(Section):
    """The Faster R-CNN around the attention module (interpretations 1 to 8, 21)."""

    fpn: Literal["auto"] | bool = "auto"
    """Maps on which boxes are looked for: true, a pyramid of five (strides of 4 to 64 pixels);
    false, one, its stride of 8, 16 or 32 no wider than the smallest anchor; auto, the pyramid
    for resnet50 and one map for the others (interpretation 7).
    """
    weights: str = "paper"
    """Start: none; imagenet or coco (torchvision's); paper (coco for resnet50, imagenet for the
    others); or the path of a state dict (interpretation 7).
    """
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Its SHA-256, for a path; null does not check."""
    norm: Literal["auto", "frozen", "batch"] = "auto"
    """Batch norms: auto (frozen when pretrained, else trained), frozen or batch (interpretation 9).
    """
    trainable_layers: Annotated[int, Field(ge=0, le=6)] | None = None
    """Parts of the backbone that train, from the last: 0 to 5, or 6 for the MobileNets. null is all
    without start weights, else torchvision's default.
    """
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=3)] = (Window(),)
    """HU windows shown to the network: one for all channels, or three (interpretation 21)."""
    anchor_mm: Annotated[tuple[Length, ...], Field(min_length=5, max_length=5)] = (
        16.0,
        32.0,
        48.0,
        64.0,
        96.0,
    )
    """Anchor edges in mm: of the five maps of a pyramid in turn, or all on the one map. A vertebral
    body is 45 by 33.
    """
    proposals: Positive = 1000
    """Proposals kept of an image, and of each anchor edge before overlaps go. torchvision's 2,000
    need a GPU.
    """
    roi_samples: Positive = 512
    """Proposals of an image that the head learns from. torchvision's are 512."""
    loss: Literal["dice", "ce", "dice_ce"] = "dice"
    """Of the ROI classes: dice (the paper's), ce or dice_ce (interpretation 8). dice_ce learns in
    the demo's few steps what dice takes longer for.
    """
    include_background: bool = False
    """Whether dice counts the background as a class of its own."""
    attention: AttentionOptions = AttentionOptions()
    """The attention module and where it stands."""

    @field_validator("windows")
    @classmethod
    def _one_or_three(cls, windows: tuple[Window, ...]) -> tuple[Window, ...]:
        if len(windows) == 2:
            raise ValueError("one window, or three for the three channels")
        return windows


class Variant(Section):
    """Which of the detectors of a table."""

    backbone: Backbone = "resnet50"
    """One that Table 1 or 2 has; the cheapest suffices."""
    attention: Attention = "none"
    """Its attention module."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """Take ``resnet50/ds``, too, as results folders name a detector."""
        if isinstance(value, str):
            backbone, _, attention = value.partition("/")
            return {"backbone": backbone, "attention": attention}
        return value


class Train(Section):
    """How one detector is trained (interpretations 9, 10 and 12)."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """One training of each variant per seed; tables show their mean."""
    epochs: Positive = 100
    """Passes over the training slices."""
    batch_size: Annotated[int, Field(ge=2)] = 9
    """Slices per step, of all devices together."""
    negatives: Annotated[float, Field(ge=0, le=0.8)] = 0.0
    """Share of each batch that are slices known to show no L1 to L4: other levels annotated, or
    off the bodies of a whole mask. 0, the paper's setting, shows none: boxes on T12 and L5 then
    get scores as high as on L1 to L4.
    """
    balance: Literal["none", "downsample", "weighted"] = "none"
    """Against unequal classes, in the training subset alone (interpretation 12): none; downsample
    (each epoch shows as many slices of each class as the rarest has, another sample each time);
    weighted (rare classes weigh more in the class loss).
    """
    learning_rate: Length = 0.01
    """Largest learning rate of SGD."""
    gamma_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Learning rate of attention's gamma, as a share of that: one number for a whole map has a far
    larger gradient than a weight.
    """
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """SGD's momentum."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """On all but attention's gamma."""
    warmup_steps: Annotated[int, Field(ge=0)] = 1000
    """Steps over which the rate rises from near 0."""
    schedule: Literal["constant", "step", "cosine"] = "constant"
    """After that: constant, step (a tenth after 60 and 85 % of the steps) or cosine."""
    gradient_clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 sets no limit."""
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """auto (bf16 where the device computes in it), 32, bf16 or 16."""
    keep: Literal["best", "last"] = "best"
    """Weights of the best epoch on the validation subset, or of the last (interpretation 10)."""
    validate_every: Positive = 1
    """Epochs from one look at the validation subset to the next; the last is always looked at. The
    demo looks once, to save a minute: its rate falls to 0, so that its last epoch is its best.
    """
    patience_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs without a better validation after which training ends early; 0 trains all epochs."""
    devices: Literal["auto"] | Positive = 1
    """GPUs of each node, or auto for all that there are; on a CPU, processes. They share a batch,
    whose losses and norms are those of one device; on CPUs norms that train are refused.
    """
    nodes: Positive = 1
    """Machines that train together, started by SLURM, torchrun or Lightning's environment
    variables.
    """
    flip_probability: Fraction = 0.5
    """Random changes to the training slices, new ones each epoch; 0 switches each off. More variety
    helps against overfitting; the paper names none. Share of slices mirrored left to right.
    """
    rotation_deg: Annotated[float, Field(ge=0, le=30)] = 0.0
    """Largest turn of a slice about its middle, either way, in degrees."""
    scale_fraction: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    """Largest change of size, either way: 0.1 is 0.9 to 1.1 times."""
    noise_hu: Annotated[float, Field(ge=0, le=500)] = 0.0
    """Largest standard deviation of noise added to each pixel, in HU."""
    shift_hu: Annotated[float, Field(ge=0, le=500)] = 0.0
    """Largest shift of all pixels of a slice, either way, in HU. Bone density is read from HU: a
    shift near the gap between classes (50, by the baseline's thresholds) hides what is to be
    learnt.
    """
