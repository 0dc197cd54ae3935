"""What a reader calls the methods whose files carry short names."""

METHOD = "Faster R-CNN"

_BACKBONES = {
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3-Large",
}

_BASELINES = {
    "thresholds": "HU thresholds",
    "balanced": "HU threshold, osteoporosis or not",
    "multinomial": "HU multinomial",
    "nearest": "HU nearest neighbour",
}

_BOXES = {"hu": "", "hu_detected": ", detector's boxes"}
"""Folders of the baselines: HU within the annotated boxes, or within those of a detector."""


def title_of(name: str) -> str:
    """Return what a figure calls ``backbone/attention`` or ``hu/...``: ``ResNet50+DS``."""
    kind, method = name.split("/")
    if kind in _BOXES:
        return _BASELINES[method] + _BOXES[kind]
    title = _BACKBONES[kind]
    return title if method == "none" else f"{title}+{method.upper()}"


def method_of(name: str) -> str:
    """Return what a table calls it: a detector with its method before it, as in the paper."""
    title = title_of(name)
    return title if is_baseline(name) else f"{METHOD}+{title}"


def is_baseline(name: str) -> bool:
    """Return whether a method is no detector."""
    return name.partition("/")[0] in _BOXES
