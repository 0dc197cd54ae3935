"""The tables that cross a step: their columns, checked when written and when read."""

from pathlib import Path

import pandas as pd
import pandera.errors
import pandera.pandas as pa

from dsnet.errors import UserError
from dsnet.files import write_csv, write_parquet

CLASSES = ("normal", "osteopenia", "osteoporosis")
"""WHO classes in the order of their index; index 0 of a detector is the background."""

LEVELS = ("L1", "L2", "L3", "L4")
"""Lumbar levels that DXA measures."""

SUBSETS = ("train", "validation", "test")

SCORE_FLOOR = 0.001
"""Detections of lower probability are dropped (docs/interpretations.md#16b)."""

MAX_DETECTIONS = 100
"""Detections kept of an image, and counted of an image and class: the best (COCO's ``maxDets``)."""

SUPPRESSION_IOU = 0.5
"""Non-maximum suppression: of two boxes that overlap more, the one of lower score is dropped
(torchvision's ``box_nms_thresh``)."""

LEAKY = "LEAKY"
"""What every file and table says that depends on a split by image."""

_FILE, _IMAGE, _SERIES, _STUDY, _PATIENT = (f"{letter}-[0-9a-f]{{16}}" for letter in "FISEP")
"""Patterns of the pseudonyms."""

_DECIMAL = r"-?\d+(\.\d+)?"


def _text(pattern: str = "", *, blank: bool = False) -> pa.Column:
    """Return a text column; cells match `pattern` whole if it is given, or are empty if `blank`."""
    if pattern:
        checks = [pa.Check.str_matches(rf"^(?:{pattern}{'|' if blank else ''})\Z")]
    else:
        checks = [] if blank else [pa.Check.str_length(min_value=1)]
    return pa.Column(str, checks, nullable=False)


def _words(*words: str, blank: bool = False) -> pa.Column:
    """Return a text column of the given words."""
    return pa.Column(str, pa.Check.isin([*words, ""] if blank else list(words)), nullable=False)


_NUMBER = pa.Column(float, nullable=True)
_COUNT = pa.Column("Int64", nullable=True)
_FLAG = pa.Column(bool)
_EDGE_PX = pa.Column(float, nullable=False)

BOX = ("x_min", "y_min", "x_max", "y_max")
"""Box edges in pixels: pixel i covers [i, i + 1), so a COCO box x, y, w, h has the edges
x, y, x + w, y + h; x runs along a row (columns), y down the rows."""

INDEX = pa.DataFrameSchema(
    name="index.parquet",
    strict=True,
    unique=["file_key"],
    columns={
        "file_key": _text(_FILE),
        # Blank where the header could not be read.
        "image_key": _text(_IMAGE, blank=True),
        "series_key": _text(_SERIES, blank=True),
        "study_key": _text(_STUDY, blank=True),
        "patient_key": _text(_PATIENT, blank=True),
        # Rank of the relative path among the cohort's files: settles ties without naming the path.
        "path_rank": pa.Column(int, pa.Check.ge(0)),
        # False where SOPInstanceUID is blank: such files are duplicates of none.
        "uid_known": _FLAG,
        # Whether PatientID (0010,0020) is given; else the folder stands for the patient.
        "patient_known": _FLAG,
        "readable": _FLAG,
        "decoded": _FLAG,
        # Why it is not readable or not decoded.
        "fault": _words(
            "not_dicom",
            "empty_file",
            "no_permission",
            "io_error",
            "cut_header",
            "no_pixels",
            "cut_pixels",
            "no_decoder",
            "decode_error",
            "too_large",
            "timeout",
            "memory_limit",
            "unexpected_content",
            "withdrawn",
            blank=True,
        ),
        # Of unexpected content the exception's class and the last frame in this package, of a
        # process that died the signal; "" elsewhere. Never an exception's message.
        "fault_class": _text(blank=True),
        "fault_frame": _text(blank=True),
        "transfer_syntax": _text(blank=True),
        "sop_class": _text(blank=True),
        "modality": _text(blank=True),
        # ImageType (0008,0008): original, derived, secondary, localizer, unknown.
        "image_kind": _words("original", "derived", "secondary", "localizer", "unknown"),
        "vendor": _words("ge", "siemens", "philips", "canon", "other", "unknown"),
        # ConvolutionKernel (0018,1210), stripped and cut to 16 characters; "" when blank.
        "kernel": _text(blank=True),
        # none, present: derived from (0018,0010) and the like, never their text.
        "contrast": _words("none", "present"),
        "date_known": _FLAG,
        "rows": _COUNT,
        "columns": _COUNT,
        "row_spacing_mm": _NUMBER,
        "column_spacing_mm": _NUMBER,
        "slice_thickness_mm": _NUMBER,
        "tilt_deg": _NUMBER,
        # Along the slice normal, from ImagePositionPatient (0020,0032).
        "position_mm": _NUMBER,
        "slice_number": _COUNT,
        "series_spacing_mm": _NUMBER,
        # Share of a series' gaps that differ by more than 10 % from its median gap.
        "irregular_fraction": _NUMBER,
        # "", no_orientation, no_position, no_spacing, not_orthogonal, impossible_spacing.
        "geometry_fault": _text(blank=True),
        "hu_scale": _FLAG,
        "hu_min": _NUMBER,
        "hu_max": _NUMBER,
        "saturated_voxels": _COUNT,
        "metal_area_mm2": _NUMBER,
        "metal_fraction": _NUMBER,
        "dense_area_mm2": _NUMBER,
        # SHA-256 of the decoded pixels and their shape; "" when not decoded.
        "pixel_hash": _text("[0-9a-f]{64}", blank=True),
    },
)

MAP = pa.DataFrameSchema(
    name="map.parquet",
    strict=True,
    unique=["file_key"],
    # Private: the only way back from a pseudonym. One row per file; unread values are "".
    columns={
        "file_key": _text(_FILE),
        "image_key": _text(_IMAGE, blank=True),
        "patient_key": _text(_PATIENT, blank=True),
        # Below the cohort's dicom/, with "/" between folders.
        "relative_path": _text(),
        "patient_id": _text(blank=True),
        "study_instance_uid": _text(blank=True),
        "series_instance_uid": _text(blank=True),
        "sop_instance_uid": _text(blank=True),
        # AcquisitionDate (0008,0022), else SeriesDate, else StudyDate, as YYYY-MM-DD.
        "ct_date": _text(blank=True),
        # SHA-256 of the decoded pixels and their shape; "" when not decoded.
        "pixel_hash": _text("[0-9a-f]{64}", blank=True),
        # Nine numbers separated by blanks: ImagePositionPatient (0020,0032) in mm, then
        # ImageOrientationPatient (0020,0037); "" where the header lacks one of them.
        "plane": _text(blank=True),
    },
)

ANNOTATIONS = pa.DataFrameSchema(
    name="annotations.csv",
    strict=True,
    ordered=True,
    # What became of each annotation: one row per annotation and file that it means.
    columns={
        # The annotation file, counted by path, and the row in it (of a mask: the label).
        "table": pa.Column(int, pa.Check.ge(1)),
        "row": pa.Column(int, pa.Check.ge(0)),
        "format": _words("coco", "voc", "labelme", "yolo", "csv", "nifti", "seg"),
        # Blank where it has no image.
        "file_key": _text(_FILE, blank=True),
        "level": _text(blank=True),
        **dict.fromkeys(BOX, _NUMBER),
        # Of the mask on the slice, or of the box.
        "area_mm2": _NUMBER,
        # Whether it picks this very file among copies that share a SOP Instance UID.
        "named": _FLAG,
        # How numbers were understood that may mean two things: edges (fractions in VOC), rotated
        # (by the attribute that CVAT writes), confidence, track or keypoints (after a YOLO box).
        "read_as": _words("edges", "rotated", "confidence", "track", "keypoints", blank=True),
        # used; merged (the same as one that is used); conflict; no_image; ambiguous (fits several
        # images or series); unknown_level; ignored (by level_names); sliver; outside (a body that
        # no slice of the mask's series shows); implausible (no vertebral body has that size, or
        # levels of its series are out of order).
        "status": _words(
            "used",
            "merged",
            "conflict",
            "no_image",
            "ambiguous",
            "unknown_level",
            "ignored",
            "sliver",
            "outside",
            "implausible",
        ),
    },
)

IDENTIFYING = pa.DataFrameSchema(
    name="identifying.parquet",
    strict=True,
    unique=["value", "kind", "form", "patient_key"],
    # Private: what must be in no output.
    columns={
        "value": _text(),
        # DICOM keyword, or the place where it stood.
        "kind": _text(),
        "form": _words("text", "name", "date", "uid"),
        # Whose header held it; "" for what stands in tables and paths.
        "patient_key": _text(_PATIENT, blank=True),
    },
)

LEDGER = pa.DataFrameSchema(
    name="ledger.csv",
    strict=True,
    ordered=True,
    unique=["file_key"],
    columns={
        "file_key": _text(_FILE),
        "image_key": _text(_IMAGE, blank=True),
        "patient_key": _text(_PATIENT, blank=True),
        "study_key": _text(_STUDY, blank=True),
        "series_key": _text(_SERIES, blank=True),
        "status": _words("included", "excluded"),
        "criterion": _text(blank=True),
        "code": _text(blank=True),
        "reason": _text(blank=True),
        "evidence": _text(blank=True),
        "threshold": _text(blank=True),
        "decided_by": _text(),
        "all_criteria": _text(blank=True),
    },
)

DEIDENTIFIED = pa.DataFrameSchema(
    name="files.csv",
    strict=True,
    ordered=True,
    unique=["image_key"],
    columns={
        "image_key": _text(_IMAGE),
        # Of the de-identified file.
        "sha256": _text("[0-9a-f]{64}"),
    },
)

REFUSED = pa.DataFrameSchema(
    name="refused.csv",
    strict=True,
    ordered=True,
    unique=["file_key"],
    columns={"image_key": _text(_IMAGE), "file_key": _text(_FILE), "reason": _text()},
)

EXCLUSIONS = pa.DataFrameSchema(
    name="exclusions.csv",
    strict=True,
    ordered=True,
    unique=["patient_key"],
    columns={
        "patient_key": _text(_PATIENT),
        "status": _words("included", "excluded"),
        "n_files": pa.Column(int, pa.Check.ge(1)),
        "n_included": pa.Column(int, pa.Check.ge(0)),
        "criterion": _text(blank=True),
        "reason": _text(blank=True),
    },
)

REGIONS = (*LEVELS, "L1-L4")
"""Regions of the lumbar spine that have a T-score."""

EXAMS = pa.DataFrameSchema(
    name="exams.csv",
    strict=True,
    ordered=True,
    unique=["patient_key", "study_key", "dxa_row"],
    # What became of every DXA exam, for each CT study of its patient; dates stay private.
    columns={
        "patient_key": _text(_PATIENT),
        # Blank where the patient has no CT.
        "study_key": _text(_STUDY, blank=True),
        # As a spreadsheet shows it.
        "dxa_row": pa.Column(int, pa.Check.ge(2)),
        # From the exam to the scan, in days; empty where a date is unknown.
        "interval_days": _text(r"-?\d+", blank=True),
        # nearest (the one that grades this study), farther, undated (a date is unknown), no_ct.
        "status": _words("nearest", "farther", "undated", "no_ct"),
        # Decimals as they grade, "" where there is none.
        **{f"{region}_t_score": _text(_DECIMAL, blank=True) for region in REGIONS},
    },
)

HISTORIES = ("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia")
"""Columns of a patient's history, of which a yes excludes (section 3.1, items 3 and 4)."""

PATIENTS = pa.DataFrameSchema(
    name="patients.csv",
    strict=True,
    ordered=True,
    unique=["patient_key"],
    # One row per patient of the CT or of one of the hospital's tables.
    columns={
        "patient_key": _text(_PATIENT),
        "in_ct": _FLAG,
        "in_dxa": _FLAG,
        "in_clinical": _FLAG,
        "sex": _words("female", "male", "other", blank=True),
        # Full years; ages above 89 count as 90: 45 CFR 164.514(b)(2)(i)(C).
        "age": pa.Column("Int64", pa.Check.in_range(0, 90), nullable=True),
        # Blank where it is unknown.
        **{name: _words("yes", "no", blank=True) for name in HISTORIES},
        # How many other patient IDs nearly equal this one (id_match.csv in the private folder).
        "near_misses": pa.Column(int, pa.Check.ge(0)),
    },
)

DECISIONS = pa.DataFrameSchema(
    name="decisions.csv",
    strict=True,
    ordered=True,
    unique=["scope", "key"],
    # A reader's decisions, one row for each file, series or patient that one means.
    columns={
        "scope": _words("file", "series", "patient"),
        # file_key, series_key or patient_key.
        "key": _text(f"{_FILE}|{_SERIES}|{_PATIENT}"),
        "decision": _words("keep", "exclude"),
        # Of review.csv, as a spreadsheet shows it.
        "row": pa.Column(int, pa.Check.ge(2)),
        "reviewer": _text(),
        # When it was made, as YYYY-MM-DD.
        "date": _text(r"\d{4}-\d{2}-\d{2}"),
    },
)

LABELS = pa.DataFrameSchema(
    name="labels.csv",
    strict=True,
    ordered=True,
    unique=["image_key", "level"],
    columns={
        "image_key": _text(_IMAGE),
        "file_key": _text(_FILE),
        "patient_key": _text(_PATIENT),
        "study_key": _text(_STUDY),
        "level": _words(*LEVELS),
        **dict.fromkeys(BOX, _EDGE_PX),
        # Decimal as it is graded (dxa.decimals), never a binary float.
        "t_score": _text(_DECIMAL),
        "label": _words(*CLASSES),
    },
)

SPLIT = pa.DataFrameSchema(
    name="split.csv",
    strict=True,
    ordered=True,
    unique=["image_key"],
    columns={
        # In a split by image alone (split.unit): the mark of what measures leakage.
        "leaky": pa.Column(str, pa.Check.eq(LEAKY), required=False),
        "image_key": _text(_IMAGE),
        "patient_key": _text(_PATIENT),
        "subset": _words(*SUBSETS),
        # The patient's class, by which the split was stratified.
        "stratum": _words(*CLASSES),
    },
)


def is_leaky(split: pd.DataFrame) -> bool:
    """Return whether a table under `SPLIT` is a split by image, in which patients are shared."""
    return "leaky" in split.columns


SLICES = pa.DataFrameSchema(
    name="slices.csv",
    strict=True,
    ordered=True,
    unique=["image_key", "level"],
    columns={
        # Row of the store; one image may hold several boxes.
        "row": pa.Column(int, pa.Check.ge(0)),
        "image_key": _text(_IMAGE),
        "patient_key": _text(_PATIENT),
        "level": _words(*LEVELS),
        # On the store's grid.
        **dict.fromkeys(BOX, _EDGE_PX),
        "label": _words(*CLASSES),
    },
)

BOX_CHECKS = pa.DataFrameSchema(
    name="box_checks.csv",
    strict=True,
    ordered=True,
    unique=["image_key", "level"],
    # What the pixels say of each stored box, in the order of the store.
    columns={
        "image_key": _text(_IMAGE),
        # The file that a row of review.csv may name.
        "file_key": _text(_FILE),
        "patient_key": _text(_PATIENT),
        "level": _words(*LEVELS),
        # Share of the box's pixels that are as dense as bone (slices.bone_hu).
        "bone_fraction": pa.Column(float, pa.Check.in_range(0, 1)),
        # little_bone: less than in any vertebral body (slices.min_bone_fraction); for review.
        "flag": _words("little_bone", blank=True),
    },
)

THUMBNAILS = pa.DataFrameSchema(
    name="thumbnails.parquet",
    strict=True,
    ordered=True,
    unique=["file_key"],
    # Small pictures of excluded images, for the report.
    columns={
        "file_key": _text(_FILE),
        "width_px": pa.Column(int, pa.Check.ge(1)),
        "height_px": pa.Column(int, pa.Check.ge(1)),
        "jpeg_base64": _text(),
    },
)

FEATURES_HU = ("core_mean_hu", "core_sd_hu", "core_p10_hu", "rim_mean_hu")
"""What the HU baseline measures of a vertebral body; see `dsnet.baseline.features`."""

FEATURES = pa.DataFrameSchema(
    name="features.csv",
    strict=True,
    ordered=True,
    unique=["image_key", "level"],
    # One row per annotated box; empty features where nothing was measured.
    columns={
        "image_key": _text(_IMAGE),
        "patient_key": _text(_PATIENT),
        "level": _words(*LEVELS),
        "subset": _words(*SUBSETS),
        "label": _words(*CLASSES),
        # Whose box was measured: the annotation's, or the detector's on that slice.
        "box": _words("annotated", "detected"),
        **dict.fromkeys(FEATURES_HU, _NUMBER),
    },
)

HISTORY = pa.DataFrameSchema(
    name="history.csv",
    strict=True,
    ordered=True,
    unique=["epoch"],
    # One row per epoch of one training; losses are means over its batches.
    columns={
        "epoch": pa.Column(int, pa.Check.ge(1)),
        "loss": _NUMBER,
        "loss_classifier": _NUMBER,
        "loss_box_reg": _NUMBER,
        "loss_objectness": _NUMBER,
        "loss_rpn_box_reg": _NUMBER,
        # Three-class AP50 and AP50 of the box alone; empty where the epoch was not judged.
        "validation_map": _NUMBER,
        "validation_box_ap50": _NUMBER,
        # At the epoch's last step.
        "learning_rate": _NUMBER,
        "seconds": _NUMBER,
    },
)

PREDICTIONS = pa.DataFrameSchema(
    name="predictions.parquet",
    strict=True,
    ordered=True,
    columns={
        "image_key": _text(_IMAGE),
        # On the store's grid.
        **dict.fromkeys(BOX, _EDGE_PX),
        "label": _words(*CLASSES),
        # The probability of `label`.
        "score": pa.Column(float, pa.Check.in_range(0, 1)),
        "p_background": pa.Column(float, pa.Check.in_range(0, 1)),
        **{f"p_{name}": pa.Column(float, pa.Check.in_range(0, 1)) for name in CLASSES},
    },
)


def write(schema: pa.DataFrameSchema, frame: pd.DataFrame, path: Path) -> None:
    """Check `frame` against `schema` and write it whole, as CSV or Parquet by `path`'s suffix."""
    checked = _check(schema, frame)
    if path.suffix == ".csv":
        write_csv(path, checked)
    else:
        write_parquet(path, checked)


def read(schema: pa.DataFrameSchema, path: Path) -> pd.DataFrame:
    """Read a table that an earlier step wrote, and check it.

    Raises
    ------
    UserError
        If the file is missing, or holds something else than that step writes.
    """
    if not path.exists():
        raise UserError(
            str(path),
            expected="the table of an earlier step",
            came="no file",
            remedy="run the workflow, which makes it first",
        )
    frame = _read_csv(schema, path) if path.suffix == ".csv" else pd.read_parquet(path)
    return _check(schema, frame)


def _read_csv(schema: pa.DataFrameSchema, path: Path) -> pd.DataFrame:
    """Return the cells as the types of `schema`, also where a column or the table is blank."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    blank = {name: [""] for name, column in schema.columns.items() if not _is_text(column)}
    try:
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=blank)
    except ValueError as error:  # other bytes, rows of unlike length, a cell of another type
        raise UserError(
            str(schema.name),
            expected="the table of an earlier step",
            came="something else",
            remedy="delete it and run the workflow, which makes it",
        ) from error


def _is_text(column: pa.Column) -> bool:
    return "str" in str(column.dtype)


def _check(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return schema.validate(frame, lazy=False)
    except pandera.errors.SchemaError as error:
        check = getattr(error, "check", None)
        raise UserError(
            str(schema.name),
            expected=f"rows that pass {check}",
            came=f"a row or column that does not ({error.reason_code})",
            remedy="delete it and run the workflow, and report this if it comes back",
        ) from error
