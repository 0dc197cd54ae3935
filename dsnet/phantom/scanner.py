"""Four vendors' scanners and the settings of one examination."""

from dataclasses import dataclass

import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
    "deflated": DeflatedExplicitVRLittleEndian,
}


@dataclass(frozen=True)
class Vendor:
    """How one vendor's files look.

    Attributes
    ----------
    manufacturer, model : str
    bone_kernels : tuple of str
    soft_kernel : str
    signed : bool
        Whether stored values are signed 16 bit, instead of unsigned 12 bit.
    intercept : int
        RescaleIntercept (0028,1052).
    image_type : tuple of str
        ImageType (0008,0008) of an original axial slice.
    """

    manufacturer: str
    model: str
    bone_kernels: tuple[str, ...]
    soft_kernel: str
    signed: bool
    intercept: int
    image_type: tuple[str, ...]


VENDORS = {
    "ge": Vendor(
        "GE MEDICAL SYSTEMS",
        "Revolution EVO",
        ("BONE", "BONEPLUS"),
        "STANDARD",
        True,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    ),
    "siemens": Vendor(
        "SIEMENS",
        "SOMATOM Definition AS",
        ("B60s", "B70s", "Br60f", "Br64d"),
        "B30f",
        False,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"),
    ),
    "philips": Vendor(
        "Philips",
        "Ingenuity CT",
        ("D", "YC", "YD"),
        "B",
        False,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"),
    ),
    "canon": Vendor(
        "TOSHIBA",
        "Aquilion PRIME",
        ("FC30", "FC81"),
        "FC08",
        True,
        0,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    ),
}


@dataclass(frozen=True)
class Scanner:
    """The settings of one examination.

    Attributes
    ----------
    vendor : Vendor
    kernel : str
        ConvolutionKernel (0018,1210) of the annotated series.
    bone : bool
        Whether the annotated series shows what a bone kernel shows.
    syntax : str
        Key of `SYNTAXES`.
    matrix_px : int
    spacing_mm, thickness_mm, step_mm : float
        Pixel edge, slice thickness, distance between slices.
    top_mm : float
        z of the first slice.
    table_mm : tuple of float
        x and y of the image's centre in the patient's coordinates.
    jitter_mm : tuple of float
        How far the operator missed the middle.
    noise_hu : float
        Standard deviation of the noise.
    """

    vendor: Vendor
    kernel: str
    bone: bool
    syntax: str
    matrix_px: int
    spacing_mm: float
    thickness_mm: float
    step_mm: float
    top_mm: float
    table_mm: tuple[float, float]
    jitter_mm: tuple[float, float]
    noise_hu: float

    @property
    def field_mm(self) -> float:
        """Edge of the image."""
        return self.matrix_px * self.spacing_mm

    def aim(self, trunk_mm: tuple[float, float]) -> tuple[float, float]:
        """Return where the image's centre lies, given the trunk's, both seen from the spine.

        Small fields are centred on the spine, large ones on the trunk.
        """
        whole = min(max((self.field_mm - 200) / 160, 0.0), 1.0)
        x, y = (whole * trunk_mm[0], whole * trunk_mm[1] + (1 - whole) * 6)
        return x + self.jitter_mm[0], y + self.jitter_mm[1]


def draw_scanner(
    rng: np.random.Generator, vendor: str, syntax: str, kernel: str, *, matrix_px: int, slices: int
) -> Scanner:
    """Return the settings of one examination.

    Parameters
    ----------
    rng : Generator
    vendor, syntax : str
        Keys of `VENDORS` and `SYNTAXES`.
    kernel : str
        "bone", "soft", or a name that no vendor's list holds, for a bone kernel unheard of.
    matrix_px : int
    slices : int
        Slices per level.
    """
    made_by = VENDORS[vendor]
    own = str(rng.choice(made_by.bone_kernels))
    # Spine views show part of the trunk, abdominal ones all of it; 1.5 mm still resolves a cortex.
    field_mm = rng.uniform(180, min(380, 1.5 * matrix_px))
    return Scanner(
        vendor=made_by,
        kernel={"bone": own, "soft": made_by.soft_kernel}.get(kernel, kernel),
        bone=kernel != "soft",
        syntax=syntax,
        matrix_px=matrix_px,
        spacing_mm=round(float(field_mm) / matrix_px, 4),
        thickness_mm=float(rng.choice([2.0, 2.5, 3.0])),
        step_mm=round(float(rng.uniform(34, 39)) / slices, 2),
        top_mm=round(float(rng.uniform(-400, 400)), 2),
        table_mm=(round(float(rng.normal(0, 8)), 1), round(float(rng.normal(-140, 15)), 1)),
        jitter_mm=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
        noise_hu=float(rng.uniform(16, 27)),
    )
