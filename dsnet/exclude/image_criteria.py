"""Criteria on the quality of an image, for which its own file and series suffice.

docs/interpretations.md#22

A criterion that needs a header passes a file without one.
"""

from functools import partial
from typing import Final

import pandas as pd

from dsnet.exclude.criterion import Case, Criterion, Finding, classify, criterion, finding

# Where nothing else is said.
_criterion = partial(criterion, scope="file", stage="quality")

_IMPLIED = "section 3 (CT images in DICOM), interpretation 22"
_ENHANCED_CLASSES = ("Enhanced CT Image Storage", "Legacy Converted Enhanced CT Image Storage")
_CT_CLASSES = ("CT Image Storage", *_ENHANCED_CLASSES)

_BODY_HU = (-500, 32767)
"""A slice through a body has values above the first; no scanner and no metal gives more than the
second, which a sign that was read wrongly does."""


@_criterion(
    "E01",
    reason="The file is not DICOM or cannot be read.",
    remedy="export the file again as DICOM",
    source=_IMPLIED,
    final=True,
)
def unreadable(case: Case) -> Finding:
    """Hold where no DICOM header could be read."""
    unread = ~case.files["readable"] & (case.files["fault"] != "withdrawn")
    return finding(case.files, [(unread, "{fault}")])


@_criterion(
    "E02",
    reason="The pixels are missing, cut or cannot be decoded.",
    remedy="export the file again, whole and in a common transfer syntax",
    source=_IMPLIED,
    final=True,
)
def undecodable_pixels(case: Case) -> Finding:
    """Hold where a header was read but no pixels could be."""
    files = case.files
    return finding(files, [(files["readable"] & ~files["decoded"], "{fault}")])


@_criterion(
    "E24",
    reason="Different images share a SOP Instance UID.",
    remedy="export the images again, each with a SOP Instance UID of its own",
    source=_IMPLIED,
    final=True,
)
def uid_conflict(case: Case) -> Finding:
    """Hold on all images of a SOP Instance UID (0008,0018) that has several.

    They differ in pixels, in position (to 0.01 mm) or in their patient: an annotation or a label by
    this UID could mean any of them. An undecodable file is compared with none.
    """
    able = _able(case.files)
    groups = able.groupby("image_key")
    table = case.files.assign(
        n_files=groups["file_key"].transform("size").reindex(case.files.index),
        n_contents=groups["content"].transform("nunique").reindex(case.files.index),
        n_patients=groups["patient_key"].transform("nunique").reindex(case.files.index),
    )
    images, patients = table["n_contents"] > 1, table["n_patients"] > 1
    return finding(
        table,
        [
            (images, "{n_files:.0f} files with this SOP Instance UID differ in pixels or position"),
            (
                patients & ~images,
                "{n_files:.0f} files with this SOP Instance UID differ in patient",
            ),
        ],
    )


def _able(files: pd.DataFrame) -> pd.DataFrame:
    """Return the files that can be compared by UID, with ``content``: their pixels and position."""
    able = files[files["decoded"] & files["uid_known"]]
    at_mm = able["position_mm"].round(2)
    return able.assign(at_mm=at_mm, content=able["pixel_hash"] + " " + at_mm.astype(str))


@_criterion(
    "E03",
    reason="The image is a copy of another one.",
    remedy="nothing has to: another copy of the image counts",
    source=_IMPLIED,
    final=True,
)
def duplicate(case: Case) -> Finding:
    """Hold on every copy of an image except one.

    Copies have the same pixels and slice position (to 0.01 mm), and the same SOP Instance UID
    (0008,0018) or patient. A file without a UID is a copy of none; an undecodable file makes no
    other one a copy. The file that an annotation names is kept, else the first by path.

    Different images at one position of a series are two reconstructions of it. Both are kept and
    flagged, since none is the better one for certain, and the patient would count twice.
    """
    files = case.files
    ranked = _able(files).sort_values(
        ["named", "path_rank"], ascending=[False, True], kind="stable"
    )
    by_uid = _kept(ranked, ["image_key", "content"])
    unique = ranked[ranked["file_key"] == by_uid]
    by_pixels = _kept(unique, ["patient_key", "pixel_hash", "at_mm"])
    table = files.assign(uid_of=by_uid, pixels_of=by_pixels)
    same_uid = table["uid_of"].notna() & (table["uid_of"] != table["file_key"])
    same_pixels = table["pixels_of"].notna() & (table["pixels_of"] != table["file_key"])
    original = (table["modality"] == "CT") & (table["image_kind"] == "original")
    several = original & (table["images_at_position"] > 1) & ~same_uid & ~same_pixels
    return finding(
        table,
        [
            (same_uid, "same SOP Instance UID as {uid_of}"),
            (same_pixels, "same pixels and position as {pixels_of}"),
        ],
        [(several, "{images_at_position} different images at this position of the series")],
    )


def _kept(ranked: pd.DataFrame, keys: list[str]) -> "pd.Series[str]":
    """Return the file key of the first in each group; its own where a key is missing."""
    first = ranked.groupby(keys, sort=False)["file_key"].transform("first")
    return first.fillna(ranked["file_key"])


@_criterion(
    "E04",
    reason="The image is not CT.",
    remedy="bring CT images of the patient",
    source=_IMPLIED,
    final=True,
)
def not_ct(case: Case) -> Finding:
    """Hold where Modality (0008,0060) or SOPClassUID (0008,0016) is something else than CT.

    A blank or private SOP class decides nothing. Screen saves and dose reports, whose Modality is
    CT, are secondary captures.
    """
    table = case.files.assign(given=case.files["modality"].replace("", "not given"))
    other_class = ~table["sop_class"].isin([*_CT_CLASSES, "", "private"])
    return finding(
        table,
        [
            (table["readable"] & (table["modality"] != "CT"), "modality {given}"),
            (table["readable"] & other_class, "{sop_class}"),
        ],
    )


@_criterion(
    "E25",
    reason="The file holds several slices and must be converted to single ones.",
    remedy="convert the multi-frame object to single frames",
    source=_IMPLIED,
    final=True,
)
def multi_frame(case: Case) -> Finding:
    """Hold on CT files of several frames, as Enhanced CT is.

    Position, spacing and rescale of each frame stand in functional groups, which the other criteria
    do not read. Converted to CT Image Storage, one file a slice, such a scan is like any other.
    """
    files = case.files
    count = files["frames"].astype("object").where(files["frames"].notna(), "no number of")
    evidence = "{count} frames in one file: convert it to single frames, as with dcm4che's emf2sf"
    return finding(files.assign(count=count), [(_is_multi_frame(files), evidence)])


def _is_multi_frame(files: pd.DataFrame) -> "pd.Series[bool]":
    several = (files["frames"] > 1).fillna(False).astype(bool)
    ct = files["readable"] & (files["modality"] == "CT")
    return ct & (several | files["sop_class"].isin(_ENHANCED_CLASSES))


@_criterion(
    "E05",
    reason="The image is not an original axial slice.",
    remedy="bring the original axial series",
    source="section 3 (axial images), interpretation 22",
    threshold=lambda p: f"tilt <= {p.criteria.not_original_axial.max_tilt_deg:g} degrees",
)
def not_original_axial(case: Case) -> Finding:
    """Hold on localizers, derived and secondary images, and on slices tilted off the axial plane.

    An image whose ImageType (0008,0008) is blank is flagged, and so is one that is turned within
    its plane by more than the same limit: quarter turns and mirror images are undone by the slices
    step, an angle between them is not.
    """
    files = case.files
    limit = case.params.criteria.not_original_axial.max_tilt_deg
    kind = files["image_kind"]
    return finding(
        files,
        [
            (files["readable"] & kind.isin(["localizer", "derived", "secondary"]), "{image_kind}"),
            (files["readable"] & (files["tilt_deg"] > limit), "tilt {tilt_deg:.1f} degrees"),
        ],
        [
            (files["readable"] & (kind == "unknown"), "image type not given"),
            (
                files["readable"] & (files["rotation_deg"] > limit),
                "turned by {rotation_deg:.0f} degrees in its plane",
            ),
        ],
    )


@_criterion(
    "E06",
    reason="The slice's place in space is missing or impossible.",
    remedy="export the series again with position, orientation and spacing of each slice",
    source=_IMPLIED,
    threshold=lambda p: (
        f"uneven gaps <= {p.criteria.bad_geometry.max_irregular_fraction:g} "
        f"({p.criteria.bad_geometry.irregular_spacing})"
    ),
    final=True,
)
def bad_geometry(case: Case) -> Finding:
    """Hold where position, orientation or pixel spacing is missing or impossible.

    A series with uneven slice spacing is flagged by default (``irregular_spacing``).
    """
    files = case.files
    params = case.params.criteria.bad_geometry
    faulty = files["readable"] & (files["geometry_fault"] != "") & ~_is_multi_frame(files)
    fault = (faulty, "{geometry_fault}")
    uneven = (
        files["readable"] & (files["irregular_fraction"] > params.max_irregular_fraction),
        "{irregular_fraction:.2f} of the series' gaps uneven",
    )
    return finding(
        files,
        [fault, uneven] if params.irregular_spacing == "exclude" else [fault],
        [uneven] if params.irregular_spacing == "review" else [],
    )


@_criterion(
    "E07",
    reason="The pixels cannot be turned into Hounsfield units.",
    remedy="export the series again with rescale slope and intercept to HU",
    source=_IMPLIED,
    final=True,
)
def no_hu_scale(case: Case) -> Finding:
    """Hold on CT whose stored values give no HU.

    Either RescaleSlope and RescaleIntercept (0028,1053 and 0028,1052) are missing or RescaleType
    (0028,1054) is another one, or they give a range that no slice of a body has: everything below
    -500 HU or above 32767, grey values of 8 bits, or nothing but padding.
    """
    files = case.files
    ct = files["readable"] & (files["modality"] == "CT") & ~_is_multi_frame(files)
    other_type = ct & ~files["rescale_type"].isin(["", "HU"])
    table = files.assign(type=files["rescale_type"].replace("?", "that is no term of the standard"))
    scaled = ct & _has_hu(files)
    low, high = _BODY_HU
    grey = (files["hu_min"] >= 0) & (files["hu_max"] <= 255)
    return finding(
        table,
        [
            (other_type, "rescale type {type}"),
            (ct & ~files["hu_scale"] & ~other_type, "no rescale slope and intercept"),
            (scaled & (files["bits_stored"] <= 8), "{bits_stored} bits a pixel"),
            (scaled & (files["hu_max"] < low), "no value above {hu_max:.0f} HU"),
            (scaled & (files["hu_max"] > high), "values up to {hu_max:.0f} HU"),
            (scaled & grey, "values from {hu_min:.0f} to {hu_max:.0f}, as of 8 bits"),
            (scaled & files["hu_max"].isna(), "no grey value that is not padding"),
        ],
    )


def _has_hu(files: pd.DataFrame) -> "pd.Series[bool]":
    return files["decoded"] & files["hu_scale"]


@_criterion(
    "E08",
    reason="The scan was made with a contrast agent.",
    remedy="bring an unenhanced scan",
    source="section 3 (unenhanced images), interpretation 22",
)
def contrast_enhanced(case: Case) -> Finding:
    """Hold where the header names a contrast agent (0018,0010 and the like).

    An agent that only the description of the series or of the protocol names is flagged.
    """
    files = case.files
    return finding(
        files,
        [(files["contrast"] == "present", "contrast agent in the header")],
        [(files["contrast"] == "described", "contrast in the series or protocol description")],
    )


@_criterion(
    "E09",
    reason="The reconstruction kernel is not one for bone.",
    remedy="bring a reconstruction with a bone kernel, or list its kernel as one",
    source="section 3.1 (full bone window), interpretation 22",
    threshold=lambda p: f"a bone kernel (unlisted: {p.criteria.not_bone_kernel.unknown_kernel})",
)
def not_bone_kernel(case: Case) -> Finding:
    """Hold on kernels that the vendor made for something else than bone.

    A kernel that the table does not list is flagged by default (``unknown_kernel``).
    """
    params = case.params.criteria.not_bone_kernel
    files = case.files.assign(kernel_name=case.files["kernel"].replace("", "not given"))
    kind = classify(files["vendor"], files["kernel"], params.bone_kernels)
    ct = files["readable"] & (files["modality"] == "CT")
    other = (ct & (kind == "other"), "kernel {kernel_name} of {vendor}")
    unlisted = (ct & (kind == "unknown"), "unlisted kernel {kernel_name} of {vendor}")
    return finding(
        files,
        [other, unlisted] if params.unknown_kernel == "exclude" else [other],
        [unlisted] if params.unknown_kernel == "review" else [],
    )


@_criterion(
    "E26",
    reason="The tube voltage is not 120 kV.",
    remedy="bring a scan at 120 kV, or switch the criterion off",
    source="HU thresholds hold at 120 kV (Pickhardt 2013); off by default",
    threshold=lambda p: f"tube voltage = 120 kV; unknown: {p.criteria.not_120_kvp.unknown_voltage}",
)
def not_120_kvp(case: Case) -> Finding:
    """Hold where KVP (0018,0060) is not 120: bone has other HU at other tube voltages."""
    files = case.files
    unknown = files["readable"] & files["tube_voltage_kv"].isna()
    other = files["readable"] & (files["tube_voltage_kv"].sub(120).abs() > 0.5)
    tests = [(other, "{tube_voltage_kv:g} kV")]
    if case.params.criteria.not_120_kvp.unknown_voltage == "exclude":
        tests.append((unknown, "no tube voltage"))
    return finding(files, tests, unknown=unknown)


@_criterion(
    "E10",
    scope="patient",
    reason="An implant disturbs the images.",
    remedy="bring a scan without metal",
    source="section 3.1, item 1",
    threshold=lambda p: (
        f"metal < {p.criteria.metal_artefact.min_area_mm2:g} mm2 "
        f"(scope {p.criteria.metal_artefact.scope})"
    ),
)
def metal_artefact(case: Case) -> Finding:
    """Hold where one connected component of metal is large enough; by default on the whole patient.

    Only slices in Hounsfield units count: on a localizer or a screenshot the numbers mean something
    else. A slice with a smaller component is flagged.
    """
    params = case.params.criteria.metal_artefact
    files = case.files
    true_hu = _has_hu(files) & (files["modality"] == "CT") & (files["hu_max"] <= _BODY_HU[1])
    slices = files[true_hu & ~files["image_kind"].isin(["localizer", "secondary"])]
    metal = slices[slices["metal_area_mm2"] >= params.min_area_mm2]
    less = slices[(slices["metal_area_mm2"] > 0) & (slices["metal_area_mm2"] < params.min_area_mm2)]
    small = (files.index.isin(less.index), "metal of only {metal_area_mm2:.1f} mm2")
    if params.scope == "image":
        large = (files.index.isin(metal.index), "metal {metal_area_mm2:.0f} mm2")
        return finding(files, [large], [small])
    worst = metal.sort_values(["metal_area_mm2", "path_rank"]).drop_duplicates(
        "patient_key", keep="last"
    )
    of_patient = worst.set_index("patient_key")[["metal_area_mm2", "file_key"]].add_prefix("worst_")
    table = files[["patient_key", "metal_area_mm2"]].join(of_patient, on="patient_key")
    has_metal = table["worst_file_key"].notna()
    return finding(
        table, [(has_metal, "metal {worst_metal_area_mm2:.0f} mm2 on {worst_file_key}")], [small]
    )


@_criterion(
    "E11",
    reason="The slice may show bone cement.",
    remedy="nothing has to: it is only flagged for a reader",
    source="section 3.1, item 3; flagged only, interpretation 22",
    threshold=lambda p: f"dense piece < {p.criteria.cement.min_area_mm2:g} mm2 (review)",
)
def cement(case: Case) -> Finding:
    """Flag slices with a dense component as large as bone cement might be; never exclude them.

    No published threshold distinguishes cement from cortical bone (interpretation 22).
    """
    files = case.files
    limit = case.params.criteria.cement.min_area_mm2
    dense = _has_hu(files) & (files["dense_area_mm2"] >= limit)
    return finding(files, flags=[(dense, "dense piece of {dense_area_mm2:.0f} mm2")])


IMAGE_CRITERIA: Final[tuple[Criterion, ...]] = (
    unreadable,
    undecodable_pixels,
    uid_conflict,
    duplicate,
    not_ct,
    multi_frame,
    not_original_axial,
    bad_geometry,
    no_hu_scale,
    contrast_enhanced,
    not_bone_kernel,
    not_120_kvp,
    metal_artefact,
    cement,
)
"""In the order in which they count."""
