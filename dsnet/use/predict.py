"""Grading the vertebrae of a study: `predict`, and the tables that it returns."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet import schemas
from dsnet.baseline.features import measure
from dsnet.config.cohort import Exclude
from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate import scene as scenes
from dsnet.evaluate.calibration import scale
from dsnet.evaluate.grading import class_vectors, pool
from dsnet.evaluate.scene import Floats, Integers, Scene, Truth
from dsnet.exclude.criteria import CRITERIA
from dsnet.exclude.criterion import gather
from dsnet.exclude.step import apply_criteria, ledger_table
from dsnet.ingest.step import progress_bar
from dsnet.schemas import BOX, CLASSES, LEVELS
from dsnet.slice_tables import FILE_KEY
from dsnet.slices.image import Grid, ImageError, read_hu, render
from dsnet.use.levels import LUMBAR, LevelSource, assign, read_annotations
from dsnet.use.study import Study
from dsnet.use.trained import NOT_A_DEVICE, Detections, Model, load_model

if TYPE_CHECKING:  # DICOM objects and figures are made on request
    from matplotlib.figure import Figure
    from pydicom.dataset import Dataset

PROBABILITIES = tuple(f"p_{name}" for name in CLASSES)

CORNERS = tuple(f"{axis}{corner}_mm" for corner in (1, 2) for axis in "xyz")
"""Patient coordinates (LPS) of a box's corner (x_min, y_min), then of (x_max, y_max)."""

BOX_COLUMNS = (
    *("patient", "series", "slice", "file", "z_mm", "level"),
    *BOX,
    *CORNERS,
    *("score", "label"),
    *PROBABILITIES,
    "core_mean_hu",
)
SLICE_COLUMNS = (
    *("patient", "series", "slice", "file", "z_mm", "status", "forced"),
    *("criterion", "code", "reason", "evidence", "all_criteria"),
    *("level", "boxes", "label"),
    *PROBABILITIES,
    "look_at",
)
GRADE_COLUMNS = ("patient", "unit", "level", "boxes", "label", *PROBABILITIES, "core_mean_hu")

_UNSURE = 0.5
"""Below this probability of the likeliest class, a person should look."""

_FORCED = "--force"


@dataclass(frozen=True)
class Result:
    """What a detector found in a study.

    Attributes
    ----------
    boxes : DataFrame
        One row per box: ``patient``, ``series``, ``slice`` (from 1 along the normal), ``file`` (by
        path), ``z_mm`` of the image's centre; ``level`` ("" where none is claimed); edges in
        pixels of the file (`dsnet.schemas.BOX`: pixel i covers [i, i + 1)); two corners in patient
        coordinates, mm, LPS; ``score``, the probability of an object; ``label`` and the calibrated
        probabilities of the three classes, which sum to 1; ``core_mean_hu``, the mean HU of the
        trabecular core (NaN where it was not measured).
    slices : DataFrame
        One row per file: whether it was ``predicted`` or ``excluded``, with the criterion, code,
        reason and evidence of the ledger; ``forced``, whether ``force`` lifted a criterion; the
        level, number of boxes and grade of the slice; ``look_at``, why a person should look at it.
    grades : DataFrame
        One row per level of a patient and one per patient, where levels or a lumbar range are
        known.
    notes : tuple of str
        What every reader must know of these results.
    model : Model
    study : Study
    """

    boxes: pd.DataFrame
    slices: pd.DataFrame
    grades: pd.DataFrame
    notes: tuple[str, ...]
    model: Model
    study: Study

    def overlay(self, row: int) -> "Figure":
        """Return a figure of one slice with its boxes.

        Parameters
        ----------
        row : int
            Of `slices`, by its index.
        """
        from dsnet.use.output import overlay_figure  # noqa: PLC0415 - matplotlib, on request

        return overlay_figure(self, row)

    def summary(self) -> list[str]:
        """Return what the command line prints: counts, reasons of what was left out, and notes."""
        excluded = self.slices[self.slices["status"] == "excluded"]
        lines = [
            f"{len(self.slices) - len(excluded)} of {len(self.slices)} files predicted, "
            f"{len(self.boxes)} boxes"
        ]
        codes = (excluded["code"] + " " + excluded["criterion"] + ": ").str.removeprefix(" : ")
        counts = (codes + excluded["reason"]).value_counts().sort_index()
        lines += [f"left out: {count} files, {reason}" for reason, count in counts.items()]
        return [*lines, *self.notes]

    @property
    def without_objects(self) -> list[str]:
        """The series with boxes that get no DICOM objects, since their images have blank UIDs."""
        keys = ["study_instance_uid", "series_instance_uid", "sop_instance_uid"]
        rows = self.boxes["row"].unique().tolist()
        blank = (self.study.identities.loc[rows, keys] == "").any(axis=1)
        names = self.slices.loc[blank.index[blank], ["patient", "series"]].drop_duplicates()
        return [f"{patient}, {series}" for patient, series in names.itertuples(index=False)]

    def to_sr(self) -> "list[Dataset]":
        """Return a DICOM SR (TID 1500) of each series with boxes; they carry the identity."""
        from dsnet.use.dicom_objects import structured_reports  # noqa: PLC0415 - highdicom

        return structured_reports(self)

    def to_seg(self) -> "list[Dataset]":
        """Return a DICOM SEG of the boxes of each series with some; they carry the identity."""
        from dsnet.use.dicom_objects import segmentations  # noqa: PLC0415 - highdicom

        return segmentations(self)

    def save(self, folder: Path | str, *, dicom: bool = True) -> None:
        """Write tables, JSON, pictures, the page, and DICOM objects unless `dicom` is false."""
        from dsnet.use.output import write_result  # noqa: PLC0415 - matplotlib, on request

        write_result(self, Path(folder), dicom=dicom)


def predict(
    model: Model | Path | str,
    study: Study,
    *,
    levels: LevelSource | None = None,
    force: bool = False,
    batch_size: int = 8,
) -> Result:
    """Find and grade the vertebrae of a study.

    The exclusion criteria of the training that need no annotation and no DXA apply first; nothing
    is predicted on what they refuse.

    Parameters
    ----------
    model : Model, Path or str
        As `dsnet.load_model` returns or takes it. Loaded once, it serves any number of studies.
    study : Study
        From `dsnet.read_study`.
    levels : LevelSource, optional
        Which slices show which level (`dsnet.use.levels.parse_levels`); without it no level is
        claimed, and results are per slice.
    force : bool
        Predict on images that the criteria refuse, too, if there is an image in HU at all. Every
        output says so.
    batch_size : int
        Images that go through the network together.

    Returns
    -------
    Result

    Raises
    ------
    UserError
        If the model or an annotation file cannot be read.

    Examples
    --------
    >>> import dsnet
    >>> study = dsnet.read_study("exports/CT.zip")
    >>> levels = dsnet.parse_levels("L1=50:70,L2=20:40")
    >>> result = dsnet.predict("results/models/resnet50/ds/seed0", study, levels=levels)
    >>> result.slices[["z_mm", "status", "level"]]
       z_mm     status level
    0   0.0  predicted
    1  30.0  predicted    L2
    2  60.0  predicted    L1
    """
    if not isinstance(model, Model):
        model = load_model(model)
    source = levels or LevelSource()
    annotated = read_annotations(source, study)
    slices = _apply_exclusions(study, model.facts.exclude, annotated, force=force)
    boxes, unusable = _detected(model, study, slices, batch_size)
    slices["status"] = slices["status"].mask(slices.index.isin(list(unusable)), "excluded")
    slices["reason"] = slices["reason"].mask(
        slices.index.isin(list(unusable)), slices.index.map(unusable)
    )
    predicted = slices[slices["status"] == "predicted"]
    of_boxes, of_slices, notes = assign(source, boxes, predicted, annotated)
    boxes["level"] = of_boxes
    slices["level"] = of_slices.reindex(slices.index).fillna("")
    rule = model.facts.evaluate.patient_label
    grades = _grades(boxes, rule)
    slices = _graded_slices(slices, boxes, grades, rule)
    return Result(
        boxes=boxes[[*BOX_COLUMNS, "row"]],
        slices=slices[[*SLICE_COLUMNS]],
        grades=grades,
        notes=(*_notes(model, source, slices), *notes),
        model=model,
        study=study,
    )


def _apply_exclusions(
    study: Study, exclude: Exclude, annotated: pd.DataFrame, *, force: bool
) -> pd.DataFrame:
    """Return one row per file with what the criteria of image quality say of it."""
    switches = {
        rule.slug: getattr(exclude.criteria, rule.slug).model_copy(update={"enabled": False})
        for rule in CRITERIA
        if rule.stage != "quality"
    }
    params = exclude.model_copy(update={"criteria": exclude.criteria.model_copy(update=switches)})
    files = gather(
        study.index[list(schemas.INDEX.columns)],
        annotated,
        schemas.empty(schemas.EXAMS),
        schemas.empty(schemas.PATIENTS),
        t_score="patient",
    )
    patients = study.index["patient_key"].unique().tolist() if force else []
    # A reader's keep lifts what is not final, which is what --force means.
    keep = {"scope": "patient", "decision": "keep", "row": 2, "reviewer": _FORCED}
    decisions = [{**keep, "key": key, "date": date.today().isoformat()} for key in patients if key]
    table = pd.DataFrame(decisions, columns=list(schemas.DECISIONS.columns))
    outcome = apply_criteria(files, params, table)
    ledger = ledger_table(files, outcome, params)
    names = study.index[["patient", "series", "slice", "file", "z_mm"]]
    file_of = dict(zip(study.index["file_key"], study.index["file"], strict=True))
    evidence = [
        re.sub(FILE_KEY, lambda key: f"file {file_of[key[0]]}", text) for text in ledger["evidence"]
    ]
    columns = ["file_key", "criterion", "code", "reason", "all_criteria"]
    return names.join(ledger[columns]).assign(
        evidence=evidence,
        status=np.where(outcome.included, "predicted", "excluded"),
        forced=outcome.lifted & outcome.included,
    )


def _detected(
    model: Model, study: Study, slices: pd.DataFrame, batch_size: int
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the boxes of all slices, and why some gave no image."""
    rows = [int(row) for row in slices.index[slices["status"] == "predicted"]]
    tables = [pd.DataFrame(columns=["row", *BOX_COLUMNS]).drop(columns="level")]
    unusable: dict[int, str] = {}
    with progress_bar() as progress:
        task = progress.add_task("slices", total=len(rows))
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            images: dict[int, tuple[Grid, NDArray[np.int16]]] = {}
            for row in some:
                try:
                    images[row] = image_of(model, study, row)
                except ImageError as error:
                    unusable[row] = _UNUSABLE[error.fault]
            if images:
                per_image = model.detect(np.stack([hu for _, hu in images.values()]))
                tables.append(_boxes(model, study, slices, images, per_image))
            progress.advance(task, len(some))
    kinds = {"row": int, **dict.fromkeys((*BOX, *CORNERS, "score", *PROBABILITIES), float)}
    filled = [table for table in tables if len(table)] or tables
    return pd.concat(filled, ignore_index=True).astype(kinds), unusable


_UNUSABLE = {
    "gone": "The file is no longer there.",
    "changed": "The file has changed since it was read.",
    "unusable": "The pixels are no single grey image in HU with a spacing.",
    "no_body": "Nothing on the image is denser than air.",
}


def image_of(model: Model, study: Study, row: int) -> tuple[Grid, NDArray[np.int16]]:
    """Return the grid of a file and its image on it, as the network sees it.

    Raises
    ------
    ImageError
        If the file has no image.
    """
    keys = ["file_key", "pixel_hash", "orientation"]
    file_key, pixel_hash, orientation = (str(study.index[key][row]) for key in keys)
    hu, spacing_mm = read_hu(study.paths[file_key], pixel_hash)
    return render(hu, spacing_mm, **model.facts.grid, orientation=orientation)


def _boxes(
    model: Model,
    study: Study,
    slices: pd.DataFrame,
    images: Mapping[int, tuple[Grid, NDArray[np.int16]]],
    per_image: Detections,
) -> pd.DataFrame:
    """Return the objects of some slices that reach the operating point, the surest first."""
    rows = list(images)
    scene = _scene(per_image)
    objects = scene.objects.take(scene.objects.score >= model.facts.evaluate.score)
    vectors = class_vectors(objects.probability)
    if model.facts.temperature is not None:
        vectors = scale(vectors, model.facts.temperature)
    table = []
    for index, box, score, vector in zip(
        objects.image, objects.box, objects.score, vectors, strict=True
    ):
        row = rows[index]
        grid, hu = images[row]
        features = measure(hu, box, model.facts.baseline)
        # The grid may reach beyond the image.
        limits = study.index.loc[row, ["columns", "rows", "columns", "rows"]].to_numpy(float)
        edges = np.clip(grid.box_to_image(tuple(box)), 0, limits).tolist()
        to_mm = study.plane(row)
        corners = [to_mm @ np.array([*edges[start : start + 2], 1.0]) for start in (0, 2)]
        table.append(
            {
                "row": row,
                **slices.loc[row, ["patient", "series", "slice", "file", "z_mm"]].to_dict(),
                **dict(zip(BOX, np.round(edges, 2), strict=True)),
                **dict(zip(CORNERS, np.round(np.concatenate(corners), 2), strict=True)),
                "score": score,
                "label": CLASSES[vector.argmax()],
                **dict(zip(PROBABILITIES, vector, strict=True)),
                "core_mean_hu": np.nan if features is None else float(features[0]),
            }
        )
    return pd.DataFrame(table)


def _scene(per_image: Detections) -> Scene:
    """Return the detections of some images as a scene without ground truths."""
    counts = [len(one["labels"]) for one in per_image]
    detections = scenes.Detections(
        image=np.repeat(np.arange(len(per_image)), counts),
        box=np.concatenate([one["boxes"] for one in per_image]).astype(np.float64),
        label=np.concatenate([one["labels"] for one in per_image]).astype(np.int64) - 1,
        score=np.concatenate([one["scores"] for one in per_image]).astype(np.float64),
        probability=np.concatenate([one["probabilities"] for one in per_image]).astype(np.float64),
    )
    none: Integers = np.full((len(per_image), 0), -1)
    zeros: Integers = np.zeros(len(per_image), dtype=np.int64)
    truth = Truth(np.zeros((len(per_image), 0, 4)), none, none)
    return Scene(zeros, ("",), truth, scenes.best_first(detections), np.arange(len(per_image)))


def _pooled(boxes: pd.DataFrame, keys: Sequence[str], rule: PatientLabel) -> pd.DataFrame:
    """Return one row per value of `keys`: boxes, label, probabilities, mean HU of the cores.

    Class vectors are pooled by the `rule` of the training's evaluation.
    """
    if boxes.empty:
        return pd.DataFrame(columns=[*keys, "boxes", "label", *PROBABILITIES, "core_mean_hu"])
    groups = boxes.groupby(list(keys), sort=True)
    vectors: Floats = boxes[list(PROBABILITIES)].to_numpy(np.float64)
    unit = np.asarray(groups.ngroup(), dtype=np.int64)
    probability, _ = pool(vectors, unit, groups.ngroups, rule)
    counts = groups.agg(boxes=("score", "size"), core_mean_hu=("core_mean_hu", "mean"))
    table = counts.reset_index()
    table["core_mean_hu"] = table["core_mean_hu"].round(2)
    table[list(PROBABILITIES)] = probability
    return table.assign(label=np.array(CLASSES, dtype=object)[probability.argmax(axis=1)])


def _grades(boxes: pd.DataFrame, rule: PatientLabel) -> pd.DataFrame:
    """Return the grade of each level and of each patient, from boxes that are known as lumbar."""
    lumbar = boxes[boxes["level"].isin([*LEVELS, LUMBAR])]
    of_level = _pooled(lumbar[lumbar["level"] != LUMBAR], ["patient", "level"], rule)
    of_patient = _pooled(lumbar, ["patient"], rule).assign(level=LUMBAR)
    table = pd.concat(
        [
            one.assign(unit=unit)
            for unit, one in (("level", of_level), ("patient", of_patient))
            if len(one)
        ]
        or [pd.DataFrame(columns=list(GRADE_COLUMNS))],
        ignore_index=True,
    )
    return table[list(GRADE_COLUMNS)]


def _graded_slices(
    slices: pd.DataFrame, boxes: pd.DataFrame, grades: pd.DataFrame, rule: PatientLabel
) -> pd.DataFrame:
    """Return the slices with their grade, and why a person should look at them."""
    own = _pooled(boxes, ["row"], rule).set_index("row").drop(columns="core_mean_hu")
    table = slices.join(own)
    table["boxes"] = table["boxes"].astype("Int64").fillna(0).astype(int)
    table["label"] = table["label"].astype(object).fillna("").astype(str)
    levels = grades[grades["unit"] == "level"].set_index(["patient", "level"])["label"]
    look_at = []
    for row in table.to_dict("records"):
        of_level = levels.get((row["patient"], row["level"]), "")
        sure = max((row[name] for name in PROBABILITIES), default=0.0)
        reasons = {
            "no box on a lumbar slice": row["level"] != "" and row["boxes"] == 0,
            "several boxes": row["boxes"] > 1,
            "unsure of the class": row["boxes"] > 0 and sure < _UNSURE,
            f"graded otherwise than its level, {of_level}": bool(of_level)
            and row["boxes"] > 0
            and row["label"] != of_level,
            "flagged by a criterion": "?" in row["all_criteria"],
            "refused by a criterion and predicted all the same": row["forced"],
        }
        held = [reason for reason, holds in reasons.items() if holds]
        look_at.append("; ".join(held) if row["status"] == "predicted" else "")
    return table.assign(look_at=look_at)


def _notes(model: Model, source: LevelSource, slices: pd.DataFrame) -> Iterable[str]:
    facts = model.facts
    yield NOT_A_DEVICE
    forced = slices[slices["forced"]]
    if len(forced):
        lifted = sorted({name for text in forced["all_criteria"] for name in text.split(";")})
        names = ", ".join(name for name in lifted if not name.endswith("?"))
        yield (
            f"FORCED: {len(forced)} slices were predicted that the exclusion criteria refuse "
            f"({names}); training would not have used them."
        )
    yield source.sentence()
    if facts.temperature is None:
        yield "Probabilities are not calibrated: the model comes without a temperature."
    if facts.synthetic:
        yield f"The model was trained on {facts.cohort}, which is synthetic: grades mean nothing."
    if facts.leaky:
        yield "The model was trained on a split by image (LEAKY)."
