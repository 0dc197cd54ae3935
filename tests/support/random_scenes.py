"""Scenes for the tests: hand-made, and random ones with many ties and several boxes an image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from dsnet.evaluate.scene import Detections, Floats, Scene, Truth, best_first
from dsnet.schemas import BOX, CLASSES, LEVELS

Box = Sequence[float]
TruthRow = tuple[int, Box, int, int]
DetectionRow = tuple[int, Box, int, Sequence[float]]


def make_scene(
    patient: Sequence[int], truths: Sequence[TruthRow], detections: Sequence[DetectionRow]
) -> Scene:
    """Build a scene of (image, box, label, level) and (image, box, label, probabilities)."""
    slots = max([1, *np.bincount([row[0] for row in truths] or [0])])
    shape = (len(patient), slots)
    truth = Truth(np.zeros((*shape, 4)), np.full(shape, -1), np.full(shape, -1))
    for image, box, label, level in sorted(truths, key=lambda row: (row[0], row[3])):
        slot = int((truth.label[image] >= 0).sum())
        truth.box[image, slot] = box
        truth.label[image, slot] = label
        truth.level[image, slot] = level
    names = tuple(f"P-{number:016x}" for number in range(max(patient) + 1))
    rows = np.arange(len(patient))
    return Scene(np.array(patient), names, truth, _detections(detections), rows)


def random_scene(
    seed: int, images: int, most_detections: int, labels: int = 3, *, tied: bool = True
) -> Scene:
    """Coarse edges and scores, so that overlaps, thresholds and scores tie all the time.

    Not tied: scores of one image differ, while those of different images still may tie.
    """
    rng = np.random.default_rng(seed)
    patients = int(rng.integers(1, images + 1))
    patient = [*range(patients), *sorted(rng.integers(patients, size=images - patients).tolist())]
    truths: list[TruthRow] = []
    detections: list[DetectionRow] = []
    for image in range(images):
        levels = sorted(rng.permutation(4)[: rng.integers(0, 5)].tolist())
        near = [_box(rng) for _ in levels]
        truths += [
            (image, box, int(rng.integers(labels)), level)
            for box, level in zip(near, levels, strict=True)
        ]
        for number in range(rng.integers(0, most_detections + 1)):
            box = _near(rng, near) if near and rng.random() < 0.6 else _box(rng)
            probability = _probability(rng, 0 if tied else number)
            detections.append((image, box, int(rng.integers(3)), probability))
    return make_scene(patient, truths, detections)


def scenes(most_detections: int = 12, *, tied: bool = True) -> st.SearchStrategy[Scene]:
    return st.builds(
        random_scene,
        seed=st.integers(0, 2**32 - 1),
        images=st.integers(1, 7),
        most_detections=st.just(most_detections),
        labels=st.integers(1, 3),
        tied=st.just(tied),
    )


def with_box_each(scene: Scene, seed: int) -> Scene:
    """Put a box into every image that has none, as in a slice store: every patient has a class."""
    rng = np.random.default_rng(seed)
    truth = Truth(scene.truth.box.copy(), scene.truth.label.copy(), scene.truth.level.copy())
    empty = (truth.label < 0).all(axis=1)
    truth.label[empty, 0] = rng.integers(3, size=empty.sum())
    truth.level[empty, 0] = rng.integers(4, size=empty.sum())
    truth.box[empty, 0] = [4, 4, 20, 20]
    return replace(scene, truth=truth)


def once(scene: Scene) -> Floats:
    """Return the weights that count every patient once."""
    return np.ones((1, len(scene.patient_keys)))


def to_tables(scene: Scene) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return predictions, slices and split as the steps before would write them."""
    images = [f"I-{number:016x}" for number in range(len(scene.patient))]
    patients = [scene.patient_keys[number] for number in scene.patient]
    image, slot = np.nonzero(scene.truth.label >= 0)
    boxes = pd.DataFrame(
        {
            "row": image,
            "image_key": [images[i] for i in image],
            "patient_key": [patients[i] for i in image],
            "level": [LEVELS[n] for n in scene.truth.level[image, slot]],
            **dict(zip(BOX, scene.truth.box[image, slot].T, strict=True)),
            "label": [CLASSES[n] for n in scene.truth.label[image, slot]],
        }
    )
    detections = scene.detections
    predictions = pd.DataFrame(
        {
            "image_key": [images[i] for i in detections.image],
            **dict(zip(BOX, detections.box.T, strict=True)),
            "label": [CLASSES[n] for n in detections.label],
            "score": detections.score,
            "p_background": detections.probability[:, 0],
            **{f"p_{name}": detections.probability[:, 1 + n] for n, name in enumerate(CLASSES)},
        }
    ).astype({"image_key": "str", "label": "str"})
    split = pd.DataFrame(
        {"image_key": images, "patient_key": patients, "subset": "test", "stratum": "normal"}
    )
    return predictions, boxes, split


def _detections(rows: Sequence[DetectionRow]) -> Detections:
    image, box, label, probabilities = zip(*rows, strict=True) if rows else ((), (), (), ())
    labels = np.array(label, dtype=np.int64)
    probability = np.array(probabilities, dtype=np.float64).reshape(-1, 4)
    return best_first(
        Detections(
            np.array(image, dtype=np.int64),
            np.array(box, dtype=np.float64).reshape(-1, 4),
            labels,
            probability[np.arange(len(labels)), labels + 1],
            probability,
        )
    )


def _box(rng: np.random.Generator) -> list[float]:
    x, y = rng.integers(0, 8, size=2) * 4
    width, height = rng.integers(0, 5, size=2) * 4  # 0: a box without area
    return [x, y, x + width, y + height]


def _near(rng: np.random.Generator, boxes: Sequence[Box]) -> list[float]:
    moved = np.array(boxes[rng.integers(len(boxes))]) + rng.integers(-1, 2, size=4) * 2
    return list(np.sort(moved.reshape(2, 2), axis=0).ravel())


def _probability(rng: np.random.Generator, rank: int) -> list[float]:
    foreground = rng.multinomial(9, [0.25] * 4)[1:] / 10 + 0.02
    foreground *= 1 - rank / 1000
    return [1 - foreground.sum(), *foreground]
