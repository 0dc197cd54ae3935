"""A lumbar vertebra: body with cortical shell and trabecular texture, arch, canal and implants."""

import math
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np
from scipy import ndimage

from dsnet.phantom.bone import Cues
from dsnet.phantom.raster import Canvas, Plane, Shape, capsule, ellipse, level_set, soft_minimum

CORTEX_HU = 640.0
ARCH_CORTEX_HU = 900.0
METAL_HU = 9000.0
"""Beyond what 12 bits can hold: the image saturates."""

CEMENT_HU = 2150.0


@dataclass(frozen=True)
class LevelForm:
    """The outline that is typical of one level, relative to L3 or in mm."""

    width: float
    depth: float
    # How far the back wall is hollowed out: kidney-shaped above, flat below.
    hollow_mm: float
    squareness: float
    pedicle_mm: float
    transverse_mm: float


LEVEL_FORMS = {
    "T12": LevelForm(0.90, 0.96, 4.0, 2.1, 4.2, 8.0),
    "L1": LevelForm(0.95, 0.98, 3.4, 2.2, 4.0, 17.0),
    "L2": LevelForm(0.97, 1.00, 2.8, 2.3, 4.4, 21.0),
    "L3": LevelForm(1.00, 1.00, 2.0, 2.4, 5.0, 25.0),
    "L4": LevelForm(1.03, 1.01, 1.2, 2.5, 6.0, 22.0),
    "L5": LevelForm(1.07, 1.03, 0.4, 2.7, 8.0, 20.0),
}


@dataclass(frozen=True)
class Vertebra:
    """One slice through a vertebra.

    Attributes
    ----------
    level : str
    height : float
        From -1, the lower endplate, to 1, the upper one.
    width_mm, depth_mm : float
        Of the patient's L3 body.
    turn_deg : float
        Rotation about the axis of the spine.
    """

    level: str
    height: float
    width_mm: float
    depth_mm: float
    turn_deg: float

    @property
    def half_mm(self) -> tuple[float, float]:
        """Half width and half depth; a body is waisted between its endplates."""
        form, waist = LEVEL_FORMS[self.level], 0.95 + 0.05 * self.height**2
        return self.width_mm * form.width * waist / 2, self.depth_mm * form.depth * waist / 2

    @property
    def back_mm(self) -> float:
        """Position along y of the middle of the body's back wall."""
        return self.half_mm[1] - LEVEL_FORMS[self.level].hollow_mm


def body_outline(bone: Vertebra) -> Shape:
    """Return the vertebral body with its cortical shell, without pedicles."""
    (a, b), form = bone.half_mm, LEVEL_FORMS[bone.level]
    c, s = math.cos(math.radians(bone.turn_deg)), math.sin(math.radians(bone.turn_deg))

    def level(x: Plane, y: Plane) -> Plane:
        u, v = np.abs(x * c + y * s) / a, (y * c - x * s) / b
        hollow = form.hollow_mm / b * np.exp(-((u / 0.42) ** 2))
        v = np.where(v > 0, v / (1 - hollow), -v)
        return np.asarray((u**form.squareness + v**form.squareness) ** (1 / form.squareness) - 1)

    reach = 1.1 * max(a, b)
    return level_set(level, (-reach, -reach, reach, reach))


def arch_outline(bone: Vertebra) -> Shape:
    """Return pedicles, laminae, facets and processes at the height of `bone`."""
    back, form, upper = bone.back_mm, LEVEL_FORMS[bone.level], bone.height > 0
    shapes: list[Shape] = []
    for side in (-1, 1):
        root = side * (bone.half_mm[0] * 0.62)
        if upper:
            r = form.pedicle_mm
            shapes += [
                capsule(root, back - 3, side * 18, back + 10, r),
                capsule(side * 18, back + 9, side * (20 + form.transverse_mm), back + 13, 3.0),
                capsule(side * 17, back + 12, side * 12, back + 20, 3.6),
            ]
        else:
            shapes += [
                ellipse(side * 17, back + 16, 5.0, 7.0, side * 25),
                capsule(side * 15, back + 18, side * 2, back + 26, 3.4),
            ]
    if upper:
        shapes.append(capsule(0, back + 33, 0, back + 45, 3.4))
    else:
        shapes.append(capsule(0, back + 26, 0, back + 48, 3.8))
    return reduce(or_, shapes) - canal(bone)


def canal(bone: Vertebra) -> Shape:
    """Return the spinal canal."""
    return ellipse(0, bone.back_mm + 8.5, 11.5, 8.8)


def paint_vertebra(canvas: Canvas, bone: Vertebra, cues: Cues, rng: np.random.Generator) -> None:
    """Add a vertebra to `canvas`.

    The trabecular bone of the body has exactly the mean and the deviation that `cues` asks for,
    before the scanner's blur and noise.
    """
    body, arch = body_outline(bone), arch_outline(bone)
    sac = canal(bone)
    canvas.paint(sac.grow(1.0), -50.0)
    canvas.paint(sac.grow(-2.2), 28.0)
    whole = body | arch
    to_body, to_arch = (_on(canvas, shape, whole) for shape in (body, arch))
    to_whole = soft_minimum(to_body, to_arch)
    near_body = canvas.coverage(to_body - 1)
    ripple = 1 + 0.12 * np.clip(canvas.mottle(whole, rng, 9.0), -2, 2)
    shell_mm = ripple * (
        cues.cortex_mm * near_body + (1.6 + 0.4 * cues.cortex_mm) * (1 - near_body)
    )
    cortex = CORTEX_HU * near_body + ARCH_CORTEX_HU * (1 - near_body)
    marrow = canvas.coverage(to_whole + shell_mm)
    trabecular = _trabecular(canvas, whole, cues, near_body * marrow, rng)
    canvas.blend(whole, canvas.coverage(to_whole), cortex)
    canvas.blend(whole, marrow, trabecular + 90 * (1 - near_body))
    if bone.level != "T12" and bone.height <= 0:
        _paint_joints(canvas, bone)


def _on(canvas: Canvas, shape: Shape, frame: Shape) -> Plane:
    """Return the distance to `shape` on the window of `frame`."""
    return canvas.distance(Shape(shape.distance, frame.bounds))


def _trabecular(
    canvas: Canvas, frame: Shape, cues: Cues, inside: Plane, rng: np.random.Generator
) -> Plane:
    blotches = canvas.mottle(frame, rng, 4.5)
    total = max(float(inside.sum()), 1e-6)
    blotches -= float((inside * blotches).sum()) / total
    spread = np.sqrt(float((inside * blotches**2).sum()) / total)
    return np.asarray(cues.trabecular_hu + cues.texture_hu / max(spread, 1e-6) * blotches)


def _paint_joints(canvas: Canvas, bone: Vertebra) -> None:
    """Add the upper articular processes of the vertebra below, beyond the joints' gaps."""
    for side in (-1, 1):
        x, y = side * 21.5, bone.back_mm + 11
        process = capsule(x, y, side * 23, y + 8, 3.4)
        gap = ellipse(side * 17, bone.back_mm + 16, 6.2, 8.2, side * 25)
        canvas.paint(process - gap, ARCH_CORTEX_HU)
        canvas.paint(process.grow(-1.8) - gap.grow(1.5), 320.0)


def paint_screws(canvas: Canvas, back_mm: float, rng: np.random.Generator) -> None:
    """Add two pedicle screws, their streaks and the dark band between them.

    Parameters
    ----------
    canvas : Canvas
    back_mm : float
        y of the vertebral body's back wall.
    rng : Generator
    """
    heads = [(side * 17.0, back_mm + 12.0) for side in (-1, 1)]
    for x, y in heads:
        canvas.hu += _streaks(canvas.x - x, canvas.y - y, rng)
    between = np.abs(canvas.x) < heads[1][0]
    canvas.hu -= 350 * between * np.exp(-(((canvas.y - heads[0][1]) / 4) ** 2))
    for x, y in heads:
        canvas.paint(capsule(1.1 * x, y + 12, 0.5 * x, y - 34, 3.1), METAL_HU)


def _streaks(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    by_angle = ndimage.gaussian_filter1d(rng.standard_normal(360), 2.0, mode="wrap")
    by_angle /= by_angle.std()
    along = np.interp(np.arctan2(y, x), np.linspace(-np.pi, np.pi, 360), by_angle)
    return np.asarray(260 * along * np.exp(-np.hypot(x, y) / 45), np.float32)


def paint_cement(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add cement in the middle of the vertebral body: denser than bone, less dense than metal."""
    cement = ellipse(-5, -2, 9.5, 7.5, 20) | ellipse(6, 2, 7, 6)
    canvas.paint(cement, np.asarray(CEMENT_HU - 120 * np.abs(canvas.mottle(cement, rng, 5.0))))
