"""A result as DICOM objects that a PACS can store: SR by TID 1500, and SEG.

Each belongs to the study of the images, and so carries the identity that these have: those of an
original study name the patient, those of a de-identified one do not.
"""

from collections.abc import Hashable, Iterator
from typing import Any

import highdicom as hd
import numpy as np
import pandas as pd
from highdicom import sr
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dsnet import __version__
from dsnet.dicom.reader import quiet
from dsnet.schemas import BOX, CLASSES, LEVELS
from dsnet.use.predict import PROBABILITIES, Result

VERTEBRAE = {
    "L1": codes.SCT.L1Vertebra,
    "L2": codes.SCT.L2Vertebra,
    "L3": codes.SCT.L3Vertebra,
    "L4": codes.SCT.L4Vertebra,
}
"""Codes of the levels: SNOMED CT, in the context groups of PS3.16 that pydicom ships."""

ANY_VERTEBRA = codes.SCT.Vertebra

FINDINGS = {
    "normal": codes.SCT.Normal,
    "osteopenia": Code("312894000", "SCT", "Osteopenia"),
    "osteoporosis": Code("64859006", "SCT", "Osteoporosis"),
}
"""The two diseases stand in no context group of PS3.16: their codes are SNOMED CT's own."""

_OWN_SCHEME = "99DSNET"
_MEAN = Code("373098007", "SCT", "Mean")
_COMMENT = codes.DCM.Comment
_MANUFACTURER, _MODEL = "dsnet (research, not a medical device)", "dsnet"
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_SERIES_NUMBERS = {"SR": 9101, "SEG": 9102}


def structured_reports(result: Result) -> list[Dataset]:
    """Return a Comprehensive SR of each series with boxes.

    One measurement group for each box: its rectangle as a region of the image, the class as finding
    type, the vertebra as finding site, the probability of the class (DCM 122157), those of all
    three, and the mean HU of the core. Series without UIDs have none (`Result.without_objects`).
    """
    with quiet():
        return [_report(result, own, images) for own, images in _by_series(result)]


def segmentations(result: Result) -> list[Dataset]:
    """Return a binary SEG of each series with boxes, with a segment for each level."""
    with quiet():
        return [_segmentation(result, own, images) for own, images in _by_series(result)]


def _by_series(result: Result) -> Iterator[tuple[pd.DataFrame, dict[int, Dataset]]]:
    """Yield the boxes of each series, and the headers of their images by row."""
    files = result.study.index
    boxes = result.boxes.join(files[["series_key", "rows", "columns"]], on="row", rsuffix="_px")
    for _, own in boxes.groupby(["series_key", "rows", "columns"], sort=False):
        images: dict[int, Dataset] = {
            int(row): dcmread(
                result.study.paths[files.loc[row, "file_key"]], stop_before_pixels=True, force=True
            )
            for row in own["row"].unique()
        }
        if all(image.get(keyword) for image in images.values() for keyword in _UIDS):
            yield own, images


def _report(result: Result, own: pd.DataFrame, images: dict[int, Dataset]) -> Dataset:
    facts = result.model.facts
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=f"dsnet {facts.name}"[:64], model_name=_MODEL
        ),
    )
    algorithm = sr.AlgorithmIdentification(name=facts.name, version=result.model.sha256[:16])
    groups = [
        _group(box, images[box["row"]], number, algorithm)
        for number, box in enumerate(own.to_dict("records"), start=1)
    ]
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    for note in result.notes:
        comment = sr.TextContentItem(_COMMENT, note, sr.RelationshipTypeValues.CONTAINS)
        report[0].ContentSequence.append(comment)
    dataset = sr.ComprehensiveSR(
        evidence=list(images.values()),
        content=report[0],
        series_number=_SERIES_NUMBERS["SR"],
        manufacturer=_MANUFACTURER,
        **_instance(),
    )
    dataset.SeriesDescription = _description(result)
    return dataset


def _group(
    box: dict[Hashable, Any], image: Dataset, number: int, algorithm: sr.AlgorithmIdentification
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    x_min, y_min, x_max, y_max = (float(box[edge]) for edge in BOX)
    # SCOORD counts from the upper left corner of the first pixel (PS3.3 C.18.6), as BOX does.
    corners = np.array(
        [[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max], [x_min, y_min]]
    )
    measurements = [
        sr.Measurement(codes.DCM.Probability, _of(box, box["label"]), codes.UCUM.NoUnits),
        *(
            sr.Measurement(
                sr.CodedConcept(f"p_{name}", _OWN_SCHEME, f"Probability of {name}"),
                _of(box, name),
                codes.UCUM.NoUnits,
            )
            for name in CLASSES
        ),
    ]
    if not np.isnan(box["core_mean_hu"]):
        measurements.append(
            sr.Measurement(
                codes.DCM.AttenuationCoefficient,
                float(box["core_mean_hu"]),
                codes.UCUM.HounsfieldUnit,
                derivation=_MEAN,
            )
        )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(hd.UID(), f"box {number}"),
        referenced_region=sr.ImageRegion(
            graphic_type=sr.GraphicTypeValues.POLYLINE,
            graphic_data=corners,
            source_image=sr.SourceImageForRegion.from_source_image(image),
        ),
        finding_type=FINDINGS[box["label"]],
        finding_sites=[sr.FindingSite(VERTEBRAE.get(box["level"], ANY_VERTEBRA))],
        algorithm_id=algorithm,
        measurements=measurements,
    )


def _of(box: dict[Hashable, Any], name: str) -> float:
    return round(float(box[PROBABILITIES[CLASSES.index(name)]]), 6)


def _segmentation(result: Result, own: pd.DataFrame, images: dict[int, Dataset]) -> Dataset:
    levels = [level if level in LEVELS else "" for level in own["level"]]
    segments = sorted(set(levels))
    first = next(iter(images.values()))
    rows = list(images)
    masks = np.zeros((len(rows), first.Rows, first.Columns, len(segments)), dtype=bool)
    for level, box in zip(levels, own.to_dict("records"), strict=True):
        # A pixel belongs to a box if its centre does; a tiny box has one pixel all the same.
        x_min, y_min, x_max, y_max = (round(float(box[edge])) for edge in BOX)
        left, top = min(x_min, first.Columns - 1), min(y_min, first.Rows - 1)
        at = rows.index(box["row"]), segments.index(level)
        masks[at[0], top : max(y_max, top + 1), left : max(x_max, left + 1), at[1]] = True
    algorithm = hd.AlgorithmIdentificationSequence(
        name=result.model.facts.name,
        family=codes.DCM.ArtificialIntelligence,
        version=result.model.sha256[:16],
    )
    dataset = hd.seg.Segmentation(
        source_images=list(images.values()),
        pixel_array=masks,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=f"box of {level or 'a vertebra'}",
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=VERTEBRAE.get(level, ANY_VERTEBRA),
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
            )
            for number, level in enumerate(segments, start=1)
        ],
        series_number=_SERIES_NUMBERS["SEG"],
        manufacturer=_MANUFACTURER,
        manufacturer_model_name=_MODEL,
        software_versions=__version__,
        device_serial_number="0",
        content_label="BOXES",
        content_description=_description(result),
        **_instance(),
    )
    dataset.SeriesDescription = _description(result)
    return dataset


def _instance() -> dict[str, Any]:
    return {"series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID(), "instance_number": 1}


def _description(result: Result) -> str:
    """Return what a viewer lists; at most 64 characters."""
    forced = "FORCED past exclusion criteria. " if result.slices["forced"].any() else ""
    return f"{forced}dsnet boxes, research only"
