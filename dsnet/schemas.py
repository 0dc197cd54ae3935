"""The tables that cross a step: their columns, checked when written and when read.

Those of `dsnet.slice_tables` are named here, too.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pyarrow import Table
from pyarrow.parquet import ParquetWriter

from dsnet.files import whole
from dsnet.slice_tables import (
    BOX,
    CLASSES,
    COUNT,
    DECIMAL,
    EDGE_PX,
    FILE_KEY,
    FLAG,
    HISTORY,
    IMAGE_KEY,
    LEAKY,
    LEVELS,
    MAX_DETECTIONS,
    NUMBER,
    PATIENT_KEY,
    PREDICTIONS,
    SCORE_FLOOR,
    SERIES_KEY,
    SLICES,
    SPLIT,
    STUDY_KEY,
    SUBSETS,
    SUPPRESSION_IOU,
    check,
    is_leaky,
    read,
    table,
    text_column,
    word_column,
    write,
)

__all__ = [
    "ANNOTATIONS",
    "BOX",
    "BOX_CHECKS",
    "CLASSES",
    "DECISIONS",
    "DEIDENTIFIED",
    "EXAMS",
    "EXCLUSIONS",
    "FEATURES",
    "FEATURES_HU",
    "HISTORIES",
    "HISTORY",
    "IDENTIFYING",
    "INDEX",
    "LABELS",
    "LEAKY",
    "LEDGER",
    "LEVELS",
    "MAP",
    "MAX_DETECTIONS",
    "PATIENTS",
    "PREDICTIONS",
    "REFUSED",
    "REGIONS",
    "SCORE_FLOOR",
    "SLICES",
    "SPLIT",
    "SUBSETS",
    "SUPPRESSION_IOU",
    "THUMBNAILS",
    "empty",
    "is_leaky",
    "read",
    "write",
    "writing",
]


@contextmanager
def writing(
    schema: pa.DataFrameSchema, path: Path, *, mode: int = 0o644
) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that adds rows to a Parquet file, for a table too large to be held whole.

    Rows are checked as they come: that a key stands in one part alone is left to who reads them.

    Parameters
    ----------
    schema : DataFrameSchema
    path : Path
    mode : int
        Of the file, from its first byte on: 0o600 for one of the private folder.
    """
    with whole(path) as temporary, ExitStack() as writers:
        writer: ParquetWriter | None = None

        def add(frame: pd.DataFrame) -> None:
            nonlocal writer
            types = None if writer is None else writer.schema
            part = Table.from_pandas(check(schema, frame), types, preserve_index=False)
            if writer is None:
                temporary.touch(mode)
                writer = writers.enter_context(ParquetWriter(temporary, part.schema))
            writer.write_table(part)

        yield add


def empty(schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return a table under `schema` that has no rows."""
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return pd.DataFrame(columns=list(types)).astype(types)


INDEX = table(
    "index.parquet",
    ordered=False,
    unique=["file_key"],
    columns={
        "file_key": text_column(FILE_KEY),
        # Blank where the header could not be read.
        "image_key": text_column(IMAGE_KEY, blank=True),
        "series_key": text_column(SERIES_KEY, blank=True),
        "study_key": text_column(STUDY_KEY, blank=True),
        "patient_key": text_column(PATIENT_KEY, blank=True),
        # Rank of the relative path among the cohort's files: settles ties without naming the path.
        "path_rank": pa.Column(int, pa.Check.ge(0)),
        # False where SOPInstanceUID is blank: such files are duplicates of none.
        "uid_known": FLAG,
        # Whether PatientID (0010,0020) is given; else the folder stands for the patient.
        "patient_known": FLAG,
        "readable": FLAG,
        "decoded": FLAG,
        # Why it is not readable or not decoded.
        "fault": word_column(
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
        "fault_class": text_column(blank=True),
        "fault_frame": text_column(blank=True),
        "transfer_syntax": text_column(blank=True),
        "sop_class": text_column(blank=True),
        "modality": text_column(blank=True),
        # ImageType (0008,0008): original, derived, secondary, localizer, unknown.
        "image_kind": word_column("original", "derived", "secondary", "localizer", "unknown"),
        "vendor": word_column("ge", "siemens", "philips", "canon", "other", "unknown"),
        # ConvolutionKernel (0018,1210), stripped and cut to 16 characters; "" when blank; a keyed
        # placeholder (K-...) for what is not made of vendors' words.
        "kernel": text_column(blank=True),
        # present by (0018,0010) and the like; described by series or protocol description alone.
        "contrast": word_column("none", "described", "present"),
        "date_known": FLAG,
        # NumberOfFrames (0028,0008).
        "frames": COUNT,
        "rows": COUNT,
        "columns": COUNT,
        "row_spacing_mm": NUMBER,
        "column_spacing_mm": NUMBER,
        "slice_thickness_mm": NUMBER,
        # KVP (0018,0060).
        "tube_voltage_kv": NUMBER,
        # Exposure (0018,1152), else XRayTubeCurrent (0018,1151) times ExposureTime (0018,1150).
        "exposure_mas": NUMBER,
        # ReconstructionDiameter (0018,1100).
        "reconstruction_diameter_mm": NUMBER,
        # Where rows and columns lead, as letters of PatientOrientation (0020,0020): LP in a
        # standard axial image.
        "orientation": text_column("[LRAPHF]{2}", blank=True),
        # Between a row and the axis that its letter stands for.
        "rotation_deg": NUMBER,
        "tilt_deg": NUMBER,
        # Along the slice normal, from ImagePositionPatient (0020,0032).
        "position_mm": NUMBER,
        "slice_number": COUNT,
        # Different images of one kind at this position of the series, itself included.
        "images_at_position": COUNT,
        "series_spacing_mm": NUMBER,
        # Share of a series' gaps that differ by more than 10 % from its median gap.
        "irregular_fraction": NUMBER,
        # "", no_orientation, no_position, no_spacing, not_orthogonal, impossible_spacing.
        "geometry_fault": text_column(blank=True),
        "bits_stored": COUNT,
        # RescaleType (0028,1054); "?" for what is no term of the standard.
        "rescale_type": word_column(
            "OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "?", blank=True
        ),
        # Whether slope, intercept and type of the rescale give HU.
        "hu_scale": FLAG,
        "hu_min": NUMBER,
        "hu_max": NUMBER,
        "saturated_voxels": COUNT,
        "metal_area_mm2": NUMBER,
        "metal_fraction": NUMBER,
        "dense_area_mm2": NUMBER,
        # BLAKE3 of stored values, shape and rescale (`PixelHash`); "" when not decoded.
        "pixel_hash": text_column("[0-9a-f]{32}", blank=True),
    },
)

MAP = table(
    "map.parquet",
    ordered=False,
    unique=["file_key"],
    # Private: the only way back from a pseudonym. One row per file; unread values are "".
    columns={
        "file_key": text_column(FILE_KEY),
        "image_key": text_column(IMAGE_KEY, blank=True),
        "patient_key": text_column(PATIENT_KEY, blank=True),
        # Below the cohort's dicom/, with "/" between folders.
        "relative_path": text_column(),
        "patient_id": text_column(blank=True),
        "study_instance_uid": text_column(blank=True),
        "series_instance_uid": text_column(blank=True),
        "sop_instance_uid": text_column(blank=True),
        # AcquisitionDate (0008,0022), else SeriesDate, else StudyDate, as YYYY-MM-DD.
        "ct_date": text_column(blank=True),
        # BLAKE3 of stored values, shape and rescale (`PixelHash`); "" when not decoded.
        "pixel_hash": text_column("[0-9a-f]{32}", blank=True),
        # Nine numbers separated by blanks: ImagePositionPatient (0020,0032) in mm, then
        # ImageOrientationPatient (0020,0037); "" where the header lacks one of them.
        "plane": text_column(blank=True),
    },
)

ANNOTATIONS = table(
    "annotations.csv",
    # What became of each annotation: one row per annotation and file that it means.
    columns={
        # The annotation file, counted by path, and the row in it (of a mask: the label).
        "table": pa.Column(int, pa.Check.ge(1)),
        "row": pa.Column(int, pa.Check.ge(0)),
        "format": word_column("coco", "voc", "labelme", "yolo", "csv", "nifti", "seg"),
        # Blank where it has no image.
        "file_key": text_column(FILE_KEY, blank=True),
        "level": text_column(blank=True),
        **dict.fromkeys(BOX, NUMBER),
        # Of the mask on the slice, or of the box.
        "area_mm2": NUMBER,
        # Whether it picks this very file among copies that share a SOP Instance UID.
        "named": FLAG,
        # How numbers were understood that may mean two things: edges (fractions in VOC), rotated
        # (by the attribute that CVAT writes), confidence, track or keypoints (after a YOLO box).
        "read_as": word_column("edges", "rotated", "confidence", "track", "keypoints", blank=True),
        # used; merged (the same as one that is used); conflict; no_image; ambiguous (fits several
        # images or series); unknown_level; ignored (by level_names); sliver; outside (a body that
        # no slice of the mask's series shows); implausible (no vertebral body has that size, or
        # levels of its series are out of order).
        "status": word_column(
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

IDENTIFYING = table(
    "identifying.parquet",
    ordered=False,
    unique=["value", "kind", "form", "patient_key"],
    # Private: what must be in no output.
    columns={
        "value": text_column(),
        # DICOM keyword, or the place where it stood.
        "kind": text_column(),
        "form": word_column("text", "name", "date", "uid"),
        # Whose header held it; "" for what stands in tables and paths.
        "patient_key": text_column(PATIENT_KEY, blank=True),
    },
)

DROPPED_NAME = "dropped.parquet"
"""Beside it, in the same columns: what de-identification removed from the included slices."""

LEDGER = table(
    "ledger.csv",
    unique=["file_key"],
    columns={
        "file_key": text_column(FILE_KEY),
        "image_key": text_column(IMAGE_KEY, blank=True),
        "patient_key": text_column(PATIENT_KEY, blank=True),
        "study_key": text_column(STUDY_KEY, blank=True),
        "series_key": text_column(SERIES_KEY, blank=True),
        "status": word_column("included", "excluded"),
        "criterion": text_column(blank=True),
        "code": text_column(blank=True),
        "reason": text_column(blank=True),
        "evidence": text_column(blank=True),
        "threshold": text_column(blank=True),
        "decided_by": text_column(),
        "all_criteria": text_column(blank=True),
    },
)

DEIDENTIFIED = table(
    "files.csv",
    unique=["image_key"],
    columns={
        "image_key": text_column(IMAGE_KEY),
        # Of the de-identified file.
        "sha256": text_column("[0-9a-f]{64}"),
        # Why somebody should look at it, "" for no reason.
        "flag": text_column(blank=True),
    },
)

REFUSED = table(
    "refused.csv",
    unique=["file_key"],
    columns={
        "image_key": text_column(IMAGE_KEY),
        "file_key": text_column(FILE_KEY),
        "reason": text_column(),
    },
)

EXCLUSIONS = table(
    "exclusions.csv",
    unique=["patient_key"],
    columns={
        "patient_key": text_column(PATIENT_KEY),
        "status": word_column("included", "excluded"),
        "n_files": pa.Column(int, pa.Check.ge(1)),
        "n_included": pa.Column(int, pa.Check.ge(0)),
        "criterion": text_column(blank=True),
        "reason": text_column(blank=True),
    },
)

REGIONS = (*LEVELS, "L1-L4")
"""Regions of the lumbar spine that have a T-score."""

EXAMS = table(
    "exams.csv",
    unique=["patient_key", "study_key", "dxa_row"],
    # What became of every DXA exam, for each CT study of its patient; dates stay private.
    columns={
        "patient_key": text_column(PATIENT_KEY),
        # Blank where the patient has no CT.
        "study_key": text_column(STUDY_KEY, blank=True),
        # As a spreadsheet shows it.
        "dxa_row": pa.Column(int, pa.Check.ge(2)),
        # From the exam to the scan, in days; empty where a date is unknown.
        "interval_days": text_column(r"-?\d+", blank=True),
        # nearest (the one that grades this study), farther, undated (a date is unknown), no_ct.
        "status": word_column("nearest", "farther", "undated", "no_ct"),
        # Decimals as they grade, "" where there is none; and as the table gives them.
        **{f"{region}_t_score": text_column(DECIMAL, blank=True) for region in REGIONS},
        **{f"{region}_t_score_raw": text_column(DECIMAL, blank=True) for region in REGIONS},
    },
)

HISTORIES = ("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia")
"""Columns of a patient's history, of which a yes excludes (section 3.1, items 3 and 4)."""

PATIENTS = table(
    "patients.csv",
    unique=["patient_key"],
    # One row per patient of the CT or of one of the hospital's tables.
    columns={
        "patient_key": text_column(PATIENT_KEY),
        "in_ct": FLAG,
        "in_dxa": FLAG,
        "in_clinical": FLAG,
        "sex": word_column("female", "male", "other", blank=True),
        # Full years; ages above 89 count as 90: 45 CFR 164.514(b)(2)(i)(C).
        "age": pa.Column("Int64", pa.Check.in_range(0, 90), nullable=True),
        # Blank where it is unknown.
        **{name: word_column("yes", "no", blank=True) for name in HISTORIES},
        # How many other patient IDs nearly equal this one (id_match.csv in the private folder).
        "near_misses": pa.Column(int, pa.Check.ge(0)),
    },
)

DECISIONS = table(
    "decisions.csv",
    unique=["scope", "key"],
    # A reader's decisions, one row for each file, series or patient that one means.
    columns={
        "scope": word_column("file", "series", "patient"),
        # file_key, series_key or patient_key.
        "key": text_column(f"{FILE_KEY}|{SERIES_KEY}|{PATIENT_KEY}"),
        "decision": word_column("keep", "exclude"),
        # Of review.csv, as a spreadsheet shows it.
        "row": pa.Column(int, pa.Check.ge(2)),
        "reviewer": text_column(),
        # When it was made, as YYYY-MM-DD.
        "date": text_column(r"\d{4}-\d{2}-\d{2}"),
    },
)

LABELS = table(
    "labels.csv",
    unique=["image_key", "level"],
    columns={
        "image_key": text_column(IMAGE_KEY),
        "file_key": text_column(FILE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "study_key": text_column(STUDY_KEY),
        "level": word_column(*LEVELS),
        **dict.fromkeys(BOX, EDGE_PX),
        # Decimal as it is graded (dxa.decimals), never a binary float.
        "t_score": text_column(DECIMAL),
        "label": word_column(*CLASSES),
    },
)

BOX_CHECKS = table(
    "box_checks.csv",
    unique=["image_key", "level"],
    # What the pixels say of each stored box, in the order of the store.
    columns={
        "image_key": text_column(IMAGE_KEY),
        # The file that a row of review.csv may name.
        "file_key": text_column(FILE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "level": word_column(*LEVELS),
        # Share of the box's pixels that are as dense as bone (slices.bone_hu).
        "bone_fraction": pa.Column(float, pa.Check.in_range(0, 1)),
        # little_bone: less than in any vertebral body (slices.min_bone_fraction); for review.
        "flag": word_column("little_bone", blank=True),
    },
)

THUMBNAILS = table(
    "thumbnails.parquet",
    unique=["file_key"],
    # Small pictures of excluded images, for the report.
    columns={
        "file_key": text_column(FILE_KEY),
        "width_px": pa.Column(int, pa.Check.ge(1)),
        "height_px": pa.Column(int, pa.Check.ge(1)),
        "jpeg_base64": text_column(),
    },
)

FEATURES_HU = ("core_mean_hu", "core_sd_hu", "core_p10_hu", "rim_mean_hu")
"""What the HU baseline measures of a vertebral body; see `dsnet.baseline.features`."""

FEATURES = table(
    "features.csv",
    unique=["image_key", "level"],
    # One row per annotated box; empty features where nothing was measured.
    columns={
        "image_key": text_column(IMAGE_KEY),
        "patient_key": text_column(PATIENT_KEY),
        "level": word_column(*LEVELS),
        "subset": word_column(*SUBSETS),
        "label": word_column(*CLASSES),
        # Whose box was measured: the annotation's, or the detector's on that slice.
        "box": word_column("annotated", "detected"),
        **dict.fromkeys(FEATURES_HU, NUMBER),
    },
)
