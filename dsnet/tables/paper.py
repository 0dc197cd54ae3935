"""What the paper reports, as printed there.

L. Y. Xue et al., "A dual-selective channel attention network for osteoporosis prediction in
computed tomography images of lumbar spine", Acadlore Trans. Mach. Learn. 1(1), 30-39, 2022,
https://doi.org/10.56578/ataiml010105 (CC BY 4.0), Tables 1 to 3.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A row of Table 1 or 2; percent, except `fps`, which cannot be frames per second.

    docs/interpretations.md#16
    """

    backbone: str
    attention: str
    map: float
    recall: float
    accuracy: float
    fps: float


@dataclass(frozen=True)
class Method:
    """A row of Table 3; percent, None where the paper prints a dash."""

    method: str
    images: int
    classes: int
    accuracy: float | None
    auc: float | None
    recall: float | None


TABLE1 = (
    Reported("resnet50", "none", 78.2, 88.1, 74.1, 0.1849),
    Reported("resnet50", "se", 80.4, 88.5, 73.7, 0.1834),
    Reported("resnet50", "sk", 81.4, 89.2, 73.8, 0.1829),
    Reported("resnet50", "ds", 83.4, 90.0, 75.9, 0.1846),
)

TABLE2 = (
    TABLE1[0],
    TABLE1[3],
    Reported("vgg16", "none", 80.0, 88.5, 71.1, 0.1873),
    Reported("vgg16", "ds", 80.2, 89.9, 71.8, 0.1870),
    # "MobileNet" in the paper; docs/interpretations.md#7 takes it for V2.
    Reported("mobilenet_v2", "none", 80.9, 86.4, 73.0, 0.1856),
    Reported("mobilenet_v2", "ds", 83.0, 88.1, 72.7, 0.1846),
)

TABLE3 = (
    Method("Machine learning [32]", 120, 2, None, 83.0, None),
    Method("LeNet [33]", 4000, 2, 88.4, None, None),
    Method("3D U-net [14]", 200, 2, None, 92.7, 85.7),
    Method("VGGnet16+BCR [16]", 334, 2, 71.0, 74.0, None),
    Method("ENSEMBLE [31]", 247, 2, 92.0, None, 88.0),
    Method("Faster R-CNN+ResNet50+DS (Ours)", 4805, 3, 75.9, None, 90.0),
)


def reported(backbone: str, attention: str) -> Reported | None:
    """Return the paper's figures for a detector, None for one that it does not have."""
    for row in (*TABLE1, *TABLE2):
        if (row.backbone, row.attention) == (backbone, attention):
            return row
    return None
