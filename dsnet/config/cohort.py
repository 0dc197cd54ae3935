"""Sections of the steps from the cohort folder to the slice store."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dsnet.config import Fraction, Length, Section

TScoreSource = Literal["patient", "vertebra", "lowest"]
"""Which T-score labels a vertebra: the patient's L1-L4, its own, or the lowest.

docs/interpretations.md#17
"""

Decimals = Literal["printed", "exact"]
"""Decimals with which a T-score is graded (docs/interpretations.md#18)."""

Vendor = Literal["ge", "siemens", "philips", "canon", "other", "unknown"]

Region = Literal["L1", "L2", "L3", "L4", "L1-L4"]

Level = Annotated[str, Field(pattern=r"^(C[1-7]|T([1-9]|1[0-2])|L[1-6]|S[1-5])$")]

DXA_COLUMNS = (
    "patient_id",
    "exam_date",
    "scan_site",
    *(
        f"{region}_{quantity}"
        for quantity in ("t_score", "bmd_g_cm2", "invalid", "included")
        for region in get_args(Region)
    ),
)
"""What the DXA table may hold, by the names of this project."""


class Phantom(Section):
    """The built-in synthetic cohort."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 2026
    """Another seed makes other patients."""
    patients_per_class: Annotated[int, Field(ge=5, le=1000)] = 36
    """Included patients of each class; some 20 more are made to be excluded."""
    matrix_px: Annotated[int, Field(ge=128, le=1024)] = 256
    """Rows and columns of a slice."""
    slices_per_level: Annotated[int, Field(ge=2, le=20)] = 2
    """Annotated slices of each of L1 to L4."""
    class_shares: tuple[Length, Length, Length] = (1.0, 1.0, 1.0)
    """Of patients_per_class, included patients with normal bone, osteopenia and osteoporosis."""
    vendors: Annotated[tuple[Vendor, ...], Field(min_length=1)] = (
        "ge",
        "siemens",
        "philips",
        "canon",
    )
    """Whose scanners there are, in equal numbers; one that is named twice has twice as many."""
    kernels: dict[Vendor, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Bone kernels in place of the usual ones, as {siemens: [B80s]}."""
    tube_kvp: Annotated[tuple[Annotated[int, Field(ge=70, le=150)], ...], Field(min_length=1)] = (
        120,
    )
    """Tube voltages in kV, in turn over the patients; they stand in the header alone."""
    noise_factor: Annotated[float, Field(gt=0, le=5)] = 1.0
    """Noise relative to the usual 16 to 27 HU."""
    shift_hu: Annotated[float, Field(ge=-200, le=200)] = 0.0
    """Added to every pixel: a scanner that is calibrated otherwise."""

    @field_validator("vendors")
    @classmethod
    def _made(cls, vendors: tuple[Vendor, ...]) -> tuple[Vendor, ...]:
        if {"other", "unknown"} & set(vendors):
            raise ValueError("ge, siemens, philips or canon")
        return vendors


class Ingest(Section):
    """Reading headers and pixel evidence."""

    processes: Annotated[int, Field(ge=0)] = 0
    """Reading processes; 0 means one for each core."""
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    """Jobs that share the files, for a cluster (docs/scale.md); the index is the same."""
    metal_hu: Annotated[float, Field(ge=1000, le=30000)] = 2500
    """HU from which a voxel counts as metal (interpretation 22)."""
    cement_hu: Annotated[float, Field(ge=500, le=30000)] = 1500
    """HU from which a voxel may be bone cement; only ever flagged for review."""
    max_seconds: Annotated[float, Field(gt=0)] = 120
    """Seconds that reading one file may take; one that takes longer becomes a row with the fault
    timeout."""
    max_memory_mb: Annotated[int, Field(ge=64)] = 2048
    """Memory in MB that reading one file may take; beyond it the fault is memory_limit (on Linux)
    or too_large."""
    max_decoded_mb: Annotated[int, Field(ge=1)] = 256
    """MB of one decoded frame, or of a deflated file once it is inflated; beyond it the fault is
    too_large."""
    max_unexpected: Fraction = 0.01
    """Share of the files with content that the program does not foresee (fault unexpected_content)
    above which the run stops, after all rows are written."""


class Annotations(Section):
    """Boxes and masks of vertebral bodies, in the formats of docs/annotations.md."""

    mask_labels: (
        Literal["totalsegmentator", "totalsegmentator_v1", "totalsegmentator_v2", "verse", "tptbox"]
        | dict[int, Level]
        | None
    ) = None
    """What the labels of NIfTI masks mean: totalsegmentator (_v1 or _v2, where the version does not
    follow from the labels), verse or tptbox, or your own map, as {20: L1, 21: L2}. null takes files
    that name their labels themselves (docs/annotations.md).
    """
    affine: Literal["sform", "qform"] | None = None
    """Which affine of a NIfTI mask counts where sform and qform differ by more than a voxel; null
    stops there.
    """
    level_names: dict[str, Level | Literal["ignore"]] = Field(default_factory=dict)
    """Your tool's names of levels, where they are not understood, as {LWK1: L1, disc: ignore}."""
    min_area_mm2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0
    """Connected parts of a mask on a slice below this, in mm2, are no vertebral body. A lumbar one
    has some 1,300; lower it if slices through the end plates are to count.
    """
    conflict_iou: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Overlap (IoU, 0 to 1) from which two boxes of one level on one image count as the same."""
    conflict: Literal["stop", "report"] = "stop"
    """Two that are not the same: stop, or report (leave both out; see
    results/cohort/annotations.csv).
    """
    unmatched: Literal["stop", "report"] = "stop"
    """An annotation without an image or a known level: stop, or report (leave it out, likewise)."""
    edge_mm: tuple[Length, Length] = (15.0, 90.0)
    """Shortest and longest edge of a box that a lumbar or thoracic body can have."""
    pitch_mm: tuple[Length, Length] = (20.0, 55.0)
    """Least and greatest distance of the centres of neighbouring lumbar bodies."""
    implausible: Literal["stop", "report"] = "stop"
    """A box of another size, or levels of a series that do not descend in such steps: stop, or
    report (leave the box, or all boxes of the series, out).
    """
    missing_size: Literal["stop", "dicom"] = "stop"
    """COCO, LabelMe and VOC files without the width and height of the annotated picture: stop, or
    dicom (its pixels are those of the DICOM image).
    """
    voc: Literal["pixels", "edges"] = "pixels"
    """Numbers in Pascal VOC files: pixels (from 1, as defined) or edges (from 0, as labelImg
    writes). Fractions are edges.
    """


class Criterion(Section):
    """A criterion that can only be switched off."""

    enabled: bool = True
    """Whether it is applied."""


class Withdrawn(Section):
    """Consent that was withdrawn (`dsnet withdraw`): it holds for every run."""

    enabled: Literal[True] = True
    """Always applied."""


class NotOriginalAxial(Criterion):
    """Tilt of the slice off the axial plane."""

    max_tilt_deg: Annotated[float, Field(ge=0, le=90)] = 5.0
    """Degrees off the axial plane, gantry tilt included. An image that is turned by more within its
    plane, quarter turns apart, is flagged."""


class BadGeometry(Criterion):
    """Missing or impossible geometry; uneven slice spacing."""

    irregular_spacing: Literal["review", "exclude", "ignore"] = "review"
    """Slice spacing that changes within a series: review (keep and flag), exclude or ignore."""
    max_irregular_fraction: Fraction = 0.2
    """Share of gaps that may differ by more than 10 % from the series' median gap."""


class NotBoneKernel(Criterion):
    """Reconstruction kernel."""

    unknown_kernel: Literal["review", "exclude", "keep"] = "review"
    """A kernel that the vendor table does not know: review (keep and flag), exclude or keep."""
    bone_kernels: dict[Vendor, tuple[str, ...]] = Field(default_factory=dict)
    """Your scanner's bone kernels, added to the table, as {siemens: [Br62s]}; one that the index
    names by a placeholder (K-...) by that one."""


class Not120Kvp(Section):
    """Tube voltage."""

    enabled: bool = False
    """Whether it is applied."""
    unknown_voltage: Literal["keep", "exclude"] = "keep"
    """A header without KVP: keep (and count), or exclude."""


class MetalArtefact(Criterion):
    """Implants and what they do to an image."""

    min_area_mm2: Annotated[float, Field(gt=0)] = 10.0
    """Smallest connected metal that excludes, in mm2."""
    scope: Literal["patient", "image"] = "patient"
    """What one slice with metal excludes: the patient or the image."""


class Cement(Criterion):
    """Bone cement; no sourced threshold, hence review only."""

    min_area_mm2: Annotated[float, Field(gt=0)] = 30.0
    """Smallest connected dense area that is flagged, in mm2."""


class DxaTooFar(Criterion):
    """Interval between CT and DXA."""

    max_interval_days: Annotated[int, Field(ge=0)] = 180
    """Days between CT and DXA, either way (interpretation 20)."""


class IncompleteLevels(Criterion):
    """Lumbar levels that a patient must still have after all other criteria."""

    min_levels: Annotated[int, Field(ge=1, le=4)] = 1
    """Levels of L1 to L4 that a patient must keep; test patients need all four (interpretation 19).
    """


class Criteria(Section):
    """Every criterion by its slug, in the order in which they count."""

    withdrawn: Withdrawn = Withdrawn()
    unreadable: Criterion = Criterion()
    undecodable_pixels: Criterion = Criterion()
    uid_conflict: Criterion = Criterion()
    duplicate: Criterion = Criterion()
    not_ct: Criterion = Criterion()
    multi_frame: Criterion = Criterion()
    not_original_axial: NotOriginalAxial = NotOriginalAxial()
    bad_geometry: BadGeometry = BadGeometry()
    no_hu_scale: Criterion = Criterion()
    contrast_enhanced: Criterion = Criterion()
    not_bone_kernel: NotBoneKernel = NotBoneKernel()
    not_120_kvp: Not120Kvp = Not120Kvp()
    metal_artefact: MetalArtefact = MetalArtefact()
    cement: Cement = Cement()
    no_annotation: Criterion = Criterion()
    not_lumbar: Criterion = Criterion()
    no_dxa: Criterion = Criterion()
    no_t_score: Criterion = Criterion()
    dxa_too_far: DxaTooFar = DxaTooFar()
    dxa_date_unknown: Criterion = Criterion()
    fracture_history: Criterion = Criterion()
    spine_surgery: Criterion = Criterion()
    tumour: Criterion = Criterion()
    bone_hyperplasia: Criterion = Criterion()
    incomplete_levels: IncompleteLevels = IncompleteLevels()


class Exclude(Section):
    """Exclusion criteria and the reading of unknown histories (docs/interpretations.md#22)."""

    unknown_history: Literal["keep", "exclude"] = "keep"
    """An unknown history: keep (and count), or exclude (interpretation 22)."""
    criteria: Criteria = Criteria()
    """In the order in which they count. Each but withdrawn can be switched off with `enabled:
    false`. `dsnet criteria` prints what each one means.
    """


class BmdReference(Section):
    """Young adults against whom a bone mineral density becomes a T-score."""

    mean_g_cm2: Length
    """Mean of young adults."""
    sd_g_cm2: Length
    """Standard deviation of young adults."""


class DxaReference(Section):
    """A reference population, by the name that every table then prints."""

    name: Annotated[str, Field(min_length=3, max_length=80)]
    """Printed by every table."""
    regions: Annotated[dict[Region, BmdReference], Field(min_length=1)]
    """By region, L1 to L4 and L1-L4."""


class Dxa(Section):
    """How the DXA table is read (docs/interpretations.md#18)."""

    preset: Literal["dsnet", "ge_lunar", "hologic"] = "dsnet"
    """Whose export the table is: dsnet (the column names of the README), ge_lunar (enCORE) or
    hologic (Apex); docs/dxa.md.
    """
    columns: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Your own column names, as {patient_id: Pat-Nr, L1-L4_t_score: T gesamt}; a level's column
    L1_invalid (anything but 0 or blank) or L1_included (0) leaves its T-score out, and scan_site
    all that is not of the lumbar spine.
    """
    date_format: str = "%Y-%m-%d"
    """Of dates that are not ISO, such as "%d.%m.%Y"."""
    decimals: Decimals = "printed"
    """printed grades a T-score as a densitometer prints it, at one decimal, half away from zero:
    -2.45 is -2.5, osteoporosis; exact takes it with all its decimals (interpretation 18).
    """
    spine_outside_levels: Literal["stop", "keep"] = "stop"
    """An L1-L4 T-score more than 0.2 above or below all of its levels: stop, since columns or rows
    are mixed up, or keep it.
    """
    outlier_levels: Literal["keep", "leave_out"] = "keep"
    """A level more than 1.0 T from each of its neighbours: keep it in the L1-L4 T-score, or
    leave_out (ISCD; the mean of the others then counts, of two at least; interpretation 18).
    """
    reference: DxaReference | None = None
    """T-scores from BMD against these young adults, as {name: ..., regions: {L1-L4: {mean_g_cm2:
    1.047, sd_g_cm2: 0.11}}}; null takes the table's T-scores. Every table prints the name.
    """

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        strange = sorted(set(columns) - set(DXA_COLUMNS))
        if strange:
            raise ValueError(f"no column {strange[0]}: known are {', '.join(DXA_COLUMNS)}")
        return columns

    @field_validator("date_format")
    @classmethod
    def _whole_date(cls, text: str) -> str:
        if not all(part in text for part in ("%d", "%m")) or not ("%Y" in text or "%y" in text):
            raise ValueError("a date format with %d, %m and %Y, such as %d.%m.%Y")
        return text


class Clinical(Section):
    """Words of the clinical table, beside those that are known in some twenty languages."""

    yes_words: tuple[str, ...] = ()
    """More words for yes, as [presente]; known are yes, ja, oui, si, sim, tak, да, 是 and others,
    also y, 1 and true. In YAML, put yes, no, y and n in quotes.
    """
    no_words: tuple[str, ...] = ()
    """More words for no, as [negado]; known are no, nein, non, nie, нет, 无 and others."""
    unknown_words: tuple[str, ...] = ()
    """More words for unknown, as [pendiente]; an empty cell, ? and n/a are known."""

    @model_validator(mode="after")
    def _once(self) -> "Clinical":
        words = [word.strip().casefold() for word in self.yes_words + self.no_words]
        words += [word.strip().casefold() for word in self.unknown_words]
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            raise ValueError(f"each word once: {twice[0]} stands twice")
        return self


class Label(Section):
    """From T-score to WHO class (docs/interpretations.md#17 and #18)."""

    t_score: TScoreSource = "patient"
    """Which T-score grades a vertebra: patient (L1-L4), vertebra (its own), lowest (interpretation
    17).
    """


class Split(Section):
    """The patient-level split (docs/interpretations.md#11)."""

    unit: Literal["patient", "image"] = "patient"
    """What is split: patients, or images, which puts one patient's images into training and test.
    That exists to measure leakage (results/leakage.csv does it for you); all it touches says
    LEAKY.
    """
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed draws other test patients."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the patients of each class that is kept for the test (interpretation 11)."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the remaining patients that chooses the epoch (interpretation 10)."""
    min_patients_per_class: Annotated[int, Field(ge=3)] = 3
    """Fewer patients of a class than this stop the run."""
    file: Path | None = None
    """A split made elsewhere: a table with patient_key and subset; null makes one."""
    repeats: Annotated[int, Field(ge=0, le=50)] = 0
    """More splits of the same patients, by the next seeds: leakage.detector is trained on each, and
    results/repeats.csv shows the spread over them; 0 makes none."""
    learning_curve: tuple[Annotated[int, Field(ge=1, lt=100)], ...] = ()
    """Percent of the training patients with which leakage.detector is trained, as [25, 50, 75]: the
    learning curve in results/learning_curve.csv; empty makes none."""

    @field_validator("file")
    @classmethod
    def _of_patients(cls, file: Path | None, known: ValidationInfo) -> Path | None:
        if file is not None and known.data.get("unit") == "image":
            raise ValueError("an imported split is by patient: leave split.unit at patient")
        return file


class Slices(Section):
    """The in-plane grid on which included slices are stored."""

    size_px: Annotated[int, Field(ge=32, le=2048)] = 512
    """Rows and columns of the grid on which slices are stored. The network pads them to a multiple
    of 32, so that 80 costs what 96 does.
    """
    pixel_mm: Annotated[float, Field(gt=0, le=10)] = 0.6
    """Its pixel edge in mm. Size times edge must hold every box, seen from the body's centre."""
    bone_hu: Annotated[float, Field(ge=0, le=1000)] = 130.0
    """From where on a pixel counts as bone in the check of boxes. 130 HU is where calcium scores
    begin (Agatston 1990): muscle and fat lie below, cortical bone above it at any bone density.
    """
    min_bone_fraction: Fraction = 0.05
    """A box in which a smaller part of the pixels is bone shows no vertebral body: the picture may
    have been mirrored, turned or another one. Such boxes are listed in box_checks.csv for review
    and never excluded; 0 lists none.
    """
    processes: Annotated[int, Field(ge=0)] = 0
    """Decoding processes; 0 means one for each core."""
