"""Criteria on the image itself: section 3.1, item 1, "images of poor quality", and what it implies.

A criterion that needs a header says nothing of a file without one.
"""

import pandas as pd

from dsnet.exclude.criterion import Case, Criterion, Finding, finding
from dsnet.exclude.kernel import classify

_IMPLIED = "section 3 (CT images in DICOM), interpretation 22"
_QUALITY = "section 3.1, item 1"
_CT_CLASSES = (
    "CT Image Storage",
    "Enhanced CT Image Storage",
    "Legacy Converted Enhanced CT Image Storage",
)


def unreadable(case: Case) -> Finding:
    """Hold where no DICOM header could be read."""
    return finding(case.files, [(~case.files["readable"], "{fault}")])


def undecodable_pixels(case: Case) -> Finding:
    """Hold where a header was read but no pixels could be."""
    files = case.files
    return finding(files, [(files["readable"] & ~files["decoded"], "{fault}")])


def duplicate(case: Case) -> Finding:
    """Hold on every copy of an image but one.

    Copies share a SOP Instance UID (0008,0018), or, within one patient, pixels and slice position.
    Files without a UID are copies of none; an undecodable file makes no other one a copy. The file
    that an annotation names is kept, else the first by path.
    """
    files = case.files
    able = files[files["decoded"] & files["uid_known"]].assign(at_mm=files["position_mm"].round(2))
    ranked = able.sort_values(["named", "path_rank"], ascending=[False, True], kind="stable")
    by_uid = _kept(ranked, ["image_key"])
    unique = ranked[ranked["file_key"] == by_uid]
    by_pixels = _kept(unique, ["patient_key", "pixel_hash", "at_mm"])
    shown = files.assign(uid_of=by_uid, pixels_of=by_pixels)
    same_uid = shown["uid_of"].notna() & (shown["uid_of"] != shown["file_key"])
    same_pixels = shown["pixels_of"].notna() & (shown["pixels_of"] != shown["file_key"])
    return finding(
        shown,
        [
            (same_uid, "same SOP Instance UID as {uid_of}"),
            (same_pixels, "same pixels and position as {pixels_of}"),
        ],
    )


def _kept(ranked: pd.DataFrame, keys: list[str]) -> "pd.Series[str]":
    """Return the file key of the first in each group; its own where a key is missing."""
    first = ranked.groupby(keys, sort=False)["file_key"].transform("first")
    return first.fillna(ranked["file_key"])


def not_ct(case: Case) -> Finding:
    """Hold where Modality (0008,0060) or SOPClassUID (0008,0016) is of something else than CT.

    A blank or private SOP class says nothing. Screen saves and dose reports, which call themselves
    CT, are secondary captures.
    """
    files = case.files
    shown = files.assign(told=files["modality"].replace("", "not given"))
    other_class = ~files["sop_class"].isin([*_CT_CLASSES, "", "private"])
    return finding(
        shown,
        [
            (files["readable"] & (files["modality"] != "CT"), "modality {told}"),
            (files["readable"] & other_class, "{sop_class}"),
        ],
    )


def not_original_axial(case: Case) -> Finding:
    """Hold on localizers, derived and secondary images, and on slices tilted off the axial plane.

    An image that does not say what it is (ImageType (0008,0008) blank) is flagged.
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
        [(files["readable"] & (kind == "unknown"), "image type not given")],
    )


def bad_geometry(case: Case) -> Finding:
    """Hold where position, orientation or pixel spacing is missing or impossible.

    A series with uneven slice spacing is flagged by default (``irregular_spacing``).
    """
    files = case.files
    params = case.params.criteria.bad_geometry
    fault = (files["readable"] & (files["geometry_fault"] != ""), "{geometry_fault}")
    uneven = (
        files["readable"] & (files["irregular_fraction"] > params.max_irregular_fraction),
        "{irregular_fraction:.2f} of the series' gaps uneven",
    )
    return finding(
        files,
        [fault, uneven] if params.irregular_spacing == "exclude" else [fault],
        [uneven] if params.irregular_spacing == "review" else [],
    )


def no_hu_scale(case: Case) -> Finding:
    """Hold where a CT gives no rescale slope and intercept (0028,1052 and 0028,1053)."""
    files = case.files
    lacks = files["readable"] & (files["modality"] == "CT") & ~files["hu_scale"]
    return finding(files, [(lacks, "no rescale slope and intercept")])


def contrast_enhanced(case: Case) -> Finding:
    """Hold where the header names a contrast agent (0018,0010 and the like)."""
    files = case.files
    return finding(files, [(files["contrast"] == "present", "contrast agent in the header")])


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


def metal_artefact(case: Case) -> Finding:
    """Hold where one connected piece of metal is large enough; by default on the whole patient.

    Only slices in Hounsfield units count: on a localizer the numbers mean something else. A slice
    with a smaller piece is flagged.
    """
    params = case.params.criteria.metal_artefact
    files = case.files
    true_hu = files["decoded"] & files["hu_scale"] & (files["modality"] == "CT")
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
    found = worst.set_index("patient_key")[["metal_area_mm2", "file_key"]].add_prefix("worst_")
    shown = files[["patient_key", "metal_area_mm2"]].join(found, on="patient_key")
    return finding(
        shown,
        [
            (
                shown["worst_file_key"].notna(),
                "metal {worst_metal_area_mm2:.0f} mm2 on {worst_file_key}",
            )
        ],
        [small],
    )


def cement(case: Case) -> Finding:
    """Flag slices with a dense piece as large as bone cement might be; never exclude them.

    No published threshold tells cement from cortical bone (interpretation 22).
    """
    files = case.files
    limit = case.params.criteria.cement.min_area_mm2
    dense = files["decoded"] & files["hu_scale"] & (files["dense_area_mm2"] >= limit)
    return finding(files, flags=[(dense, "dense piece of {dense_area_mm2:.0f} mm2")])


CRITERIA = (
    Criterion(
        "unreadable",
        "E01",
        "file",
        "The file is not DICOM or cannot be read.",
        _IMPLIED,
        unreadable,
        final=True,
    ),
    Criterion(
        "undecodable_pixels",
        "E02",
        "file",
        "The pixels are missing, cut or cannot be decoded.",
        _IMPLIED,
        undecodable_pixels,
        final=True,
    ),
    Criterion(
        "duplicate",
        "E03",
        "file",
        "The image is a copy of another one.",
        _IMPLIED,
        duplicate,
        final=True,
    ),
    Criterion("not_ct", "E04", "file", "The image is not CT.", _IMPLIED, not_ct, final=True),
    Criterion(
        "not_original_axial",
        "E05",
        "file",
        "The image is not an original axial slice.",
        "section 3 (axial images), interpretation 22",
        not_original_axial,
        lambda p: f"tilt <= {p.criteria.not_original_axial.max_tilt_deg:g} degrees",
    ),
    Criterion(
        "bad_geometry",
        "E06",
        "file",
        "The slice's place in space is missing or impossible.",
        _IMPLIED,
        bad_geometry,
        lambda p: (
            f"uneven gaps <= {p.criteria.bad_geometry.max_irregular_fraction:g} "
            f"({p.criteria.bad_geometry.irregular_spacing})"
        ),
        final=True,
    ),
    Criterion(
        "no_hu_scale",
        "E07",
        "file",
        "The pixels cannot be turned into Hounsfield units.",
        _IMPLIED,
        no_hu_scale,
        final=True,
    ),
    Criterion(
        "contrast_enhanced",
        "E08",
        "file",
        "The scan was made with a contrast agent.",
        "section 3 (unenhanced images), interpretation 22",
        contrast_enhanced,
    ),
    Criterion(
        "not_bone_kernel",
        "E09",
        "file",
        "The reconstruction kernel is not one for bone.",
        "section 3.1 (full bone window), interpretation 22",
        not_bone_kernel,
        lambda p: f"a bone kernel (unlisted: {p.criteria.not_bone_kernel.unknown_kernel})",
    ),
    Criterion(
        "metal_artefact",
        "E10",
        "patient",
        "An implant disturbs the images.",
        _QUALITY,
        metal_artefact,
        lambda p: (
            f"metal < {p.criteria.metal_artefact.min_area_mm2:g} mm2 "
            f"(scope {p.criteria.metal_artefact.scope})"
        ),
    ),
    Criterion(
        "cement",
        "E11",
        "file",
        "The slice may show bone cement.",
        "section 3.1, item 3; flagged only, interpretation 22",
        cement,
        lambda p: f"dense piece < {p.criteria.cement.min_area_mm2:g} mm2 (review)",
    ),
)
