import math

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from support.ct_builder import ct_slice

from dsnet.dicom.header import BLANK, read


def coded(meaning: str, value: str = "") -> list[Dataset]:
    item = Dataset()
    item.CodeMeaning, item.CodeValue = meaning, value
    return [item]


def test_an_ordinary_header() -> None:
    header = read(ct_slice())
    assert header.patient_id == "000123"
    assert (header.study_instance_uid, header.series_instance_uid) == ("1.2.3", "1.2.3.4")
    assert header.ct_date == "2020-02-29"
    assert header.sop_class == "CT Image Storage"
    assert header.transfer_syntax == "Explicit VR Little Endian"
    assert (header.modality, header.image_kind, header.vendor) == ("CT", "original", "ge")
    assert (header.kernel, header.contrast) == ("BONEPLUS", "none")
    assert (header.rows, header.columns, header.frames, header.bits_stored) == (16, 16, None, 12)
    assert (header.orientation, header.rotation_deg, header.rescale_type) == ("LP", 0, "HU")
    assert (header.row_spacing_mm, header.column_spacing_mm) == (0.5, 2.0)
    assert (header.slice_thickness_mm, header.tilt_deg, header.position_mm) == (4, 0, 7)
    assert header.geometry_fault == ""
    assert header.hu_scale


def test_an_empty_header_is_blank() -> None:
    header = read(Dataset())
    assert header.geometry_fault == "no_orientation"
    assert BLANK.geometry_fault == ""
    assert BLANK.rows is None
    assert math.isnan(BLANK.slope)
    assert not BLANK.hu_scale
    assert {BLANK.patient_id, BLANK.sop_instance_uid, BLANK.ct_date, BLANK.kernel} == {""}


@pytest.mark.parametrize(
    ("elements", "mas"),
    [
        ({"Exposure": "150", "XRayTubeCurrent": "9", "ExposureTime": "9"}, 150.0),
        ({"Exposure": None, "XRayTubeCurrent": "180", "ExposureTime": "750"}, 135.0),
        ({"Exposure": "0", "XRayTubeCurrent": "200", "ExposureTime": "500"}, 100.0),
        ({"Exposure": None, "XRayTubeCurrent": "180"}, math.nan),
        ({"Exposure": None}, math.nan),
    ],
)
def test_exposure_is_read_or_computed(elements: dict[str, str | None], mas: float) -> None:
    assert read(ct_slice(**elements)).exposure_mas == pytest.approx(mas, nan_ok=True)


def test_tube_voltage_and_reconstruction_diameter() -> None:
    header = read(ct_slice(KVP="100", ReconstructionDiameter="350.5"))
    assert (header.tube_voltage_kv, header.reconstruction_diameter_mm) == (100, 350.5)
    unknown = read(ct_slice(KVP="0", ReconstructionDiameter="-1"))
    assert math.isnan(unknown.tube_voltage_kv)
    assert math.isnan(unknown.reconstruction_diameter_mm)


def test_exposure_differs_within_a_series() -> None:
    """Tube currents are modulated: what the slices of a series share must not hold the exposure."""
    first, second = (read(ct_slice(Exposure=str(mas))).exposure_mas for mas in (90, 91))
    assert (first, second) == (90, 91)


@pytest.mark.parametrize(
    ("written", "kept"), [(" 000123 ", "000123"), ("12 3", "12 3"), ("  ", ""), (None, "")]
)
def test_ids_lose_padding_only(written: str | None, kept: str) -> None:
    assert read(ct_slice(PatientID=written)).patient_id == kept


@pytest.mark.parametrize(
    ("acquisition", "series", "study", "day"),
    [
        ("20200229", "20200301", "20200302", "2020-02-29"),
        ("", "20200301", "20200302", "2020-03-01"),
        ("20210229", "", "20200302", "2020-03-02"),
        ("2020.03.04", "20200301", "", "2020-03-04"),
        ("2020", "unknown", "", ""),
        ("", "", "", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_the_first_valid_date_counts(acquisition: str, series: str, study: str, day: str) -> None:
    dataset = ct_slice(AcquisitionDate=acquisition, SeriesDate=series, StudyDate=study)
    assert read(dataset).ct_date == day


@pytest.mark.parametrize(
    ("elements", "contrast"),
    [
        ({}, "none"),
        ({"ContrastBolusAgent": "None"}, "none"),
        ({"ContrastBolusAgent": "IOHEXOL 350"}, "present"),
        ({"ContrastBolusVolume": 0}, "none"),
        ({"ContrastBolusVolume": 80}, "present"),
        ({"ContrastBolusTotalDose": 28}, "present"),
        ({"ContrastBolusRoute": "IV"}, "present"),
        ({"ContrastBolusRoute": "None"}, "none"),
        ({"ContrastBolusAgent": "None", "ContrastBolusRoute": "IV"}, "none"),
        ({"ContrastBolusAgentSequence": []}, "none"),
        ({"ContrastBolusAgentSequence": coded("None")}, "none"),
        ({"ContrastBolusAgentSequence": coded("", "C-B0322")}, "present"),
        ({"ContrastBolusAgentSequence": coded("Iopamidol")}, "present"),
        ({"SeriesDescription": "Abdomen venous 3.0 B60f"}, "described"),
        ({"ProtocolName": "FDG_TK_KM"}, "described"),
        ({"SeriesDescription": "L-SPINE W/O CONTRAST", "ProtocolName": "LSpine"}, "none"),
        ({"SeriesDescription": "post contrast", "ContrastBolusAgent": "IOHEXOL"}, "present"),
    ],
)
def test_contrast(elements: dict[str, object], contrast: str) -> None:
    assert read(ct_slice(**elements)).contrast == contrast


@pytest.mark.parametrize(
    ("elements", "is_hu"),
    [
        ({}, True),
        ({"RescaleType": None}, True),
        ({"RescaleType": ""}, True),
        ({"RescaleType": "US"}, False),
        ({"RescaleType": "HU_MOD"}, False),
        ({"RescaleSlope": None}, False),
        ({"RescaleSlope": 0}, False),
        ({"RescaleSlope": -1}, False),
        ({"RescaleSlope": "1e-300"}, False),
        ({"RescaleIntercept": "1e300"}, False),
        ({"RescaleIntercept": None}, False),
        ({"RescaleType": None, "Modality": "PT"}, False),
    ],
)
def test_hu_scale(elements: dict[str, object], is_hu: bool) -> None:
    assert read(ct_slice(**elements)).hu_scale is is_hu


def test_frames_and_rescale_type() -> None:
    header = read(ct_slice(NumberOfFrames=4, RescaleType="us"))
    assert (header.frames, header.rescale_type) == (4, "US")
    assert read(ct_slice(RescaleType="Thornabee")).rescale_type == "?"


def test_values_that_do_not_fit_count_as_blank() -> None:
    dataset = ct_slice()
    for keyword, raw in {
        "PixelSpacing": b"0,7\\0,7 ",
        "RescaleSlope": b"one ",
        "Rows": b"123",
    }.items():
        element = dataset[keyword]
        del dataset[keyword]
        dataset[element.tag] = _raw(element.tag, element.VR, raw)
    dataset.add_new("ContrastBolusAgentSequence", "DS", "80")
    header = read(dataset)
    assert header.contrast == "none"
    assert header.geometry_fault == "no_spacing"
    assert not header.hu_scale
    assert header.rows is None


def _raw(tag: object, vr: str, value: bytes) -> object:
    return RawDataElement(tag, vr, len(value), value, 0, False, True)
