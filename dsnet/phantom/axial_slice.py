"""One axial slice through the trunk at a lumbar level, in HU: organs, muscles and the vertebra."""

import math
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np
from scipy import ndimage

from dsnet.phantom.person import Anatomy, Cues, SlicePosition
from dsnet.phantom.raster import Canvas, Plane, Shape, capsule, ellipse, level_set, soft_minimum

FAT_HU = -102.0
MUSCLE_HU = 54.0
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
    """One slice through a vertebra of a patient."""

    anatomy: Anatomy
    position: SlicePosition

    @property
    def form(self) -> LevelForm:
        """The outline of its level."""
        return LEVEL_FORMS[self.position.level]

    @property
    def half_mm(self) -> tuple[float, float]:
        """Half width and half depth; a body is waisted between its endplates."""
        form, waist = self.form, 0.95 + 0.05 * self.position.height**2
        width_mm, depth_mm = self.anatomy.vertebra_width_mm, self.anatomy.vertebra_depth_mm
        return width_mm * form.width * waist / 2, depth_mm * form.depth * waist / 2

    @property
    def back_mm(self) -> float:
        """Position along y of the middle of the body's back wall."""
        return self.half_mm[1] - self.form.hollow_mm


def render(
    canvas: Canvas,
    anatomy: Anatomy,
    position: SlicePosition,
    cues: Cues,
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    """Paint an axial slice, before the scanner's blur and noise, onto an empty canvas.

    Returns
    -------
    tuple of int
        The box of the vertebral body: x, y, width and height in pixels, tight around the body with
        its cortical shell.
    """
    bone = Vertebra(anatomy, position)
    _paint_couch(canvas, anatomy)
    canvas.distort(rng, 3.0, 40.0)
    _paint_trunk(canvas, anatomy, rng)
    _paint_organs(canvas, anatomy, position.depth, rng)
    canvas.unclip()
    _paint_ribs(canvas, anatomy, position.depth, rng)
    _paint_muscles(canvas, anatomy, position.depth, bone, rng)
    canvas.undistort()
    _paint_vessels(canvas, anatomy, position.depth, -bone.half_mm[1], rng)
    paint_vertebra(canvas, bone, cues, rng)
    if position.implant == "screws":
        paint_screws(canvas, bone.back_mm, rng)
    elif position.implant == "cement":
        paint_cement(canvas, rng)
    outline = body_outline(bone)
    rows, columns = canvas.window(outline.bounds)
    # A pixel belongs to the body if its centre does.
    y, x = np.nonzero(canvas.distance(outline) <= 0)
    left, top = int(x.min()), int(y.min())
    return (
        left + columns.start,
        top + rows.start,
        int(x.max()) - left + 1,
        int(y.max()) - top + 1,
    )


def _paint_trunk(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Add skin, fat, abdominal wall and cavity, and clip `canvas` to the cavity."""
    x0, y0 = anatomy.centre_mm
    skin = _trunk(x0, y0, anatomy.half_width_mm, anatomy.half_depth_mm, groove_mm=7.0)
    front, side = 0.9 * anatomy.fat_mm, 0.8 * anatomy.fat_mm
    top, bottom = y0 - anatomy.half_depth_mm + front, anatomy.fascia_mm - 4
    a, middle, b = anatomy.half_width_mm - side, (top + bottom) / 2, (bottom - top) / 2
    wall = _trunk(x0, middle, a, b)
    cavity = _trunk(x0, middle, a - 16 * anatomy.muscle, b - 10 * anatomy.muscle)
    distance = canvas.distance(skin)
    canvas.blend(skin, canvas.coverage(distance), 12.0)
    canvas.blend(skin, canvas.coverage(distance + 2.0), FAT_HU + 7 * canvas.mottle(skin, rng, 9.0))
    canvas.paint(wall, MUSCLE_HU)
    inside = canvas.coverage(canvas.distance(cavity))
    canvas.blend(cavity, inside, FAT_HU + 8 + 9 * canvas.mottle(cavity, rng, 7.0))
    canvas.clip(cavity, inside)


def _trunk(x0: float, y0: float, a: float, b: float, groove_mm: float = 0.0) -> Shape:
    """Return an outline flatter than an ellipse, with a groove along the spine."""

    def level(x: Plane, y: Plane) -> Plane:
        u, v = np.abs(x - x0) / a, (y - y0) / b
        if groove_mm:
            groove = groove_mm / b * np.exp(-((x / 17) ** 2))
            v = np.where(v > 0, v / (1 - groove), -v)
        else:
            v = np.abs(v)
        return np.asarray((u**2.35 + v**2.35) ** (1 / 2.35) - 1)

    return level_set(level, (x0 - a, y0 - b, x0 + a, y0 + b))


def _paint_couch(canvas: Canvas, anatomy: Anatomy) -> None:
    back = anatomy.fascia_mm + anatomy.fat_mm
    x0, radius = anatomy.lean_mm, 520.0
    top = ellipse(x0, back + 3.5 - radius, radius, radius)
    bottom = ellipse(x0, back + 30 - 1.4 * radius, 1.4 * radius, 1.4 * radius)
    couch = bottom - top
    couch = Shape(couch.distance, (x0 - 215, back, x0 + 215, back + 32))
    canvas.paint(couch, -150.0)
    canvas.paint(couch.grow(-2.5), -925.0)


def _paint_organs(canvas: Canvas, anatomy: Anatomy, depth: float, rng: np.random.Generator) -> None:
    x0, y0 = anatomy.centre_mm
    wide = anatomy.half_width_mm - 0.8 * anatomy.fat_mm
    front = y0 - anatomy.half_depth_mm + anatomy.fat_mm + 14
    kidney_hu = 34 + 0.7 * max(anatomy.vessel_hu - 48, 0)
    _paint_bowel(canvas, (x0, front, wide, depth), rng)
    if depth < 3.2:
        size = 1 - depth / 4.5
        liver = ellipse(x0 - 0.62 * wide, y0 - 14, 62 * size + 6, 84 * size + 10, 12)
        canvas.paint(liver, 58.0)
    if depth < 1.6:
        canvas.paint(ellipse(x0 + 0.76 * wide, y0 + 8, 24, 42, -15), 50.0)
    for side, first, last in ((-1, 0.2, 3.6), (1, -0.2, 3.2)):
        middle = (depth - first) / (last - first)
        if 0 < middle < 1:
            size = math.sqrt(math.sin(math.pi * middle))
            kidney = ellipse(side * 66, 4, 27 * size, 32 * size, side * 28)
            canvas.paint(kidney.grow(1.2), FAT_HU)
            canvas.paint(kidney, kidney_hu)
            canvas.paint(ellipse(side * 57, 1, 10 * size, 13 * size, side * 28), -70.0)


def _paint_ribs(canvas: Canvas, anatomy: Anatomy, depth: float, rng: np.random.Generator) -> None:
    if depth > 2.4:
        return
    x0, y0 = anatomy.centre_mm
    wide = 0.95 * (anatomy.half_width_mm - 0.8 * anatomy.fat_mm)
    for side in (-1, 1):
        # On the flank, from the side towards the back.
        for angle in np.add((12, 38, 62), rng.uniform(-6, 6, 3)):
            c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            rib = ellipse(x0 + side * wide * c, y0 + 20 + 52 * s, 3.6, 8.5, side * (angle + 10))
            canvas.paint(rib, 560.0)
            canvas.paint(rib.grow(-1.6), 190.0)


def _paint_bowel(
    canvas: Canvas, belly: tuple[float, float, float, float], rng: np.random.Generator
) -> None:
    x0, front, wide, depth = belly
    for _ in range(16):
        x, y = x0 + rng.uniform(-0.75, 0.75) * wide, rng.uniform(front, -42)
        radius = rng.uniform(1.5, 3.5)
        canvas.paint(ellipse(x, y, radius, radius), 42.0)
    loops = [(x0 + rng.uniform(-0.6, 0.6) * wide, rng.uniform(front + 8, -58)) for _ in range(11)]
    for x, y in loops:
        a, b = rng.uniform(11, 24), rng.uniform(9, 16)
        _paint_loop(canvas, ellipse(x, y, a, b, rng.uniform(-40, 40)), y, b, rng)
    for side in (-1, 1):
        if side > 0 or depth > 2.6:
            x, y = x0 + side * (wide - 36), -6 + rng.uniform(-6, 10)
            colon = ellipse(x, y, rng.uniform(15, 21), rng.uniform(16, 24))
            canvas.paint(colon, 40.0)
            faeces = colon.grow(-2.5)
            mottle = canvas.mottle(faeces, rng, 5.0)
            canvas.paint(faeces, np.where(mottle > 1.1, -700, -20 + 45 * mottle))


def _paint_loop(
    canvas: Canvas, loop: Shape, y: float, half: float, rng: np.random.Generator
) -> None:
    canvas.paint(loop, 44.0)
    lumen = loop.grow(-2.2)
    canvas.paint(lumen, float(rng.uniform(8, 34)))
    if rng.random() < 0.35:
        # The patient lies on the back, so gas collects in front of a fluid level.
        level = y + float(rng.uniform(-0.4, 0.5)) * half
        x_min, y_min, x_max, _ = lumen.bounds
        above = Shape(lambda _, y: y - level, (x_min, y_min, x_max, level))
        canvas.paint(lumen & above, -960.0)


def _paint_muscles(
    canvas: Canvas, anatomy: Anatomy, depth: float, bone: Vertebra, rng: np.random.Generator
) -> None:
    size, half, back = anatomy.muscle, bone.half_mm[0], bone.back_mm
    compartment = _trunk(0, back + 34, 76 * size, anatomy.fascia_mm - back - 33)
    canvas.paint(compartment, FAT_HU + 4)
    psoas = 5 + 3.1 * depth
    for side in (-1, 1):
        for shape in (
            ellipse(side * 37, back + 34, 33 * size, anatomy.fascia_mm - back - 35, side * 6),
            ellipse(side * 12, back + 38, 9.5 * size, 17, side * 8),
            ellipse(side * 73, back + 13, 17 * size, 11 * size, side * 35),
            ellipse(side * (half + 0.85 * psoas), 5, psoas * size, 1.35 * psoas * size),
        ):
            streaks = np.clip(canvas.mottle(shape, rng, 4.0) - 1.8 + 4 * anatomy.fatty, 0, 1.2)
            canvas.paint(shape, np.asarray(MUSCLE_HU - 80 * streaks))


def _paint_vessels(
    canvas: Canvas, anatomy: Anatomy, depth: float, front: float, rng: np.random.Generator
) -> None:
    if depth < 4.2:
        aorta = [ellipse(9, front - 12, 10, 10)]
        veins = [ellipse(-15, front - 9, 12, 8.5, -15)]
    else:
        aorta = [ellipse(x, front - 11, 7, 7) for x in (-6, 16)]
        veins = [ellipse(x, front - 7, 8, 6) for x in (-20, 1)]
    for shape in veins:
        canvas.paint(shape.grow(1.5), FAT_HU)
        canvas.paint(shape, 0.8 * anatomy.vessel_hu)
    for shape in aorta:
        canvas.paint(shape.grow(1.5), FAT_HU)
        canvas.paint(shape, anatomy.vessel_hu)
        if anatomy.calcified:
            x, y = rng.uniform(-0.7, 0.7, 2)
            x_min, y_min, x_max, y_max = shape.bounds
            x1, y1 = (x_min + x_max) / 2 + 7 * np.sign(x), (y_min + y_max) / 2 + 7 * y
            canvas.paint(capsule(x1, y1, x1 + 2 * y, y1 + 4, 1.2), 600.0)


def body_outline(bone: Vertebra) -> Shape:
    """Return the vertebral body with its cortical shell, without pedicles."""
    (a, b), form, turn = bone.half_mm, bone.form, math.radians(bone.anatomy.turn_deg)
    c, s = math.cos(turn), math.sin(turn)

    def level(x: Plane, y: Plane) -> Plane:
        u, v = np.abs(x * c + y * s) / a, (y * c - x * s) / b
        hollow = form.hollow_mm / b * np.exp(-((u / 0.42) ** 2))
        v = np.where(v > 0, v / (1 - hollow), -v)
        return np.asarray((u**form.squareness + v**form.squareness) ** (1 / form.squareness) - 1)

    reach = 1.1 * max(a, b)
    return level_set(level, (-reach, -reach, reach, reach))


def arch_outline(bone: Vertebra) -> Shape:
    """Return pedicles, laminae, facets and processes at the height of `bone`."""
    back, form, upper = bone.back_mm, bone.form, bone.position.height > 0
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
    to_body, to_arch = (
        canvas.distance(Shape(shape.distance, whole.bounds)) for shape in (body, arch)
    )
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
    if bone.position.level != "T12" and bone.position.height <= 0:
        _paint_joints(canvas, bone)


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
