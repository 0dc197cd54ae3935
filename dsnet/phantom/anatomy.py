"""One axial slice through the trunk at a lumbar level, in HU."""

import math
from dataclasses import dataclass, replace

import numpy as np

from dsnet.phantom.bone import ALL_LEVELS, Cues
from dsnet.phantom.raster import Canvas, Plane, Shape, capsule, ellipse, level_set
from dsnet.phantom.vertebra import (
    Vertebra,
    body_outline,
    paint_cement,
    paint_screws,
    paint_vertebra,
)

FAT_HU = -102.0
MUSCLE_HU = 54.0


@dataclass(frozen=True)
class Anatomy:
    """One patient's trunk, muscles, spine and vessels, without the bone's density.

    Attributes
    ----------
    half_width_mm, half_depth_mm : float
        Of the trunk.
    fat_mm : float
        Thickness of the fat below the skin.
    fascia_mm : float
        y of the back muscles' surface.
    muscle : float
        Size of the spine's muscles, relative to the average.
    fatty : float
        Share of the muscle that is fat, 0 to 0.5.
    vertebra_width_mm, vertebra_depth_mm : float
        Of the L3 body.
    turn_deg : float
        Rotation of the spine about its axis.
    lean_mm : float
        From the spine to the trunk's midline.
    scoliosis_mm, lordosis_mm : float
        How far the spine's curves shift its middle sideways and forwards.
    calcified : bool
        Whether the aorta's wall holds calcium.
    vessel_hu : float
        HU of blood; above 150 with a contrast agent.
    """

    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    fascia_mm: float
    muscle: float
    fatty: float
    vertebra_width_mm: float
    vertebra_depth_mm: float
    turn_deg: float
    lean_mm: float
    scoliosis_mm: float
    lordosis_mm: float
    calcified: bool
    vessel_hu: float

    @property
    def centre_mm(self) -> tuple[float, float]:
        """The trunk's centre, relative to the vertebral body's."""
        return self.lean_mm, self.fascia_mm + self.fat_mm - self.half_depth_mm

    def at(self, position: "SlicePosition") -> tuple["Anatomy", tuple[float, float]]:
        """Return the anatomy relative to the vertebra at `position`, and that vertebra's shift.

        The shift is what the spine's curves add in x and y, in mm.
        """
        bow = math.sin(math.pi * position.depth / 5)
        x, y = self.scoliosis_mm * bow, -self.lordosis_mm * bow
        return replace(self, lean_mm=self.lean_mm - x, fascia_mm=self.fascia_mm - y), (x, y)


@dataclass(frozen=True)
class SlicePosition:
    """Where a slice goes through the spine.

    Attributes
    ----------
    level : str
    height : float
        From -1, the lower endplate, to 1, the upper one.
    implant : {"", "screws", "cement"}
    """

    level: str
    height: float
    implant: str = ""

    @property
    def depth(self) -> float:
        """The level's number from 0 at T12 to 5 at L5, with the height as a fraction."""
        return ALL_LEVELS.index(self.level) - self.height / 2


@dataclass(frozen=True)
class FieldOfView:
    """The image's grid; `centre_mm` is its centre, relative to the vertebral body's."""

    matrix_px: int
    spacing_mm: float
    centre_mm: tuple[float, float]


def sample_anatomy(rng: np.random.Generator, *, contrast: bool = False) -> Anatomy:
    """Return a patient's anatomy, which is independent of the bone's density."""
    fat = float(rng.uniform(8, 32))
    return Anatomy(
        half_width_mm=float(rng.uniform(138, 158) + 1.1 * fat),
        half_depth_mm=float(rng.uniform(88, 102) + 0.9 * fat),
        fat_mm=fat,
        fascia_mm=float(rng.uniform(68, 72)),
        muscle=float(rng.uniform(0.85, 1.12)),
        fatty=float(rng.uniform(0.03, 0.4)),
        vertebra_width_mm=float(rng.uniform(48.5, 52.0)),
        vertebra_depth_mm=float(rng.uniform(33.5, 37.0)),
        turn_deg=float(rng.normal(0, 3)),
        lean_mm=float(rng.normal(0, 3)),
        scoliosis_mm=float(rng.normal(0, 3)),
        lordosis_mm=float(rng.uniform(2, 8)),
        calcified=bool(rng.random() < 0.4),
        vessel_hu=float(rng.uniform(190, 290) if contrast else rng.uniform(35, 48)),
    )


def render(
    anatomy: Anatomy,
    position: SlicePosition,
    view: FieldOfView,
    cues: Cues,
    rng: np.random.Generator,
) -> tuple[Plane, tuple[int, int, int, int]]:
    """Return an axial slice and the box of its vertebral body.

    Returns
    -------
    hu : float32 array, shape (matrix, matrix)
        Before the scanner's blur and noise.
    box : tuple of int
        x, y, width and height in pixels, tight around the body with its cortical shell.
    """
    canvas = Canvas(view.matrix_px, view.spacing_mm, view.centre_mm)
    width, depth = anatomy.vertebra_width_mm, anatomy.vertebra_depth_mm
    bone = Vertebra(position.level, position.height, width, depth, anatomy.turn_deg)
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
    return canvas.hu, _box(canvas, bone)


def _box(canvas: Canvas, bone: Vertebra) -> tuple[int, int, int, int]:
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
