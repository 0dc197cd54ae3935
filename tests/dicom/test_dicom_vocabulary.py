import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.vocabulary import (
    describes_contrast,
    image_kind,
    is_kernel_name,
    kernel,
    modality,
    names_contrast,
    rescale_type,
    standard_name,
    vendor,
)

CT = "CT Image Storage"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "None", "none", "NONE", "NO", "No.", "n", "N/A", "na", "nil", "null", "-", "--",
        "0", "0.0", "0 ml", "w/o", "W/O CONTRAST", "without", "without contrast", "No contrast",
        "NON CONTRAST", "Non-contrast", "noncontrast", "no IV contrast", "no i.v. contrast given",
        "No contrast agent used", "not applicable", "unenhanced", "plain", "native",
    ],
)  # fmt: skip
def test_words_for_no_contrast(text: str) -> None:
    assert not names_contrast(text)


@pytest.mark.parametrize(
    "text",
    [
        "IOHEXOL 350", "APPLIED", "Omnipaque", "CONTRAST", "IV", "IV contrast", "yes", "Y",
        "ORAL", "NONIONIC", "Novolum 300", "100 ml", "no IV contrast, oral only",
    ],
)  # fmt: skip
def test_everything_else_names_an_agent(text: str) -> None:
    assert names_contrast(text)


@pytest.mark.parametrize(
    ("image_type", "sop_class", "kind"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL"], CT, "original"),
        (["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], CT, "original"),
        (["original ", "primary"], CT, "original"),
        (["ORIGINAL"], CT, "original"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], CT, "localizer"),
        (["ORIGINAL", "SECONDARY", "LOCALIZER"], CT, "localizer"),
        (["ORIGINAL", "PRIMARY", "AXIAL", "SCOUT"], CT, "localizer"),
        (["DERIVED", "SECONDARY", "MPR"], CT, "derived"),
        (["DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 DUAL"], CT, "derived"),
        (["ORIGINAL", "SECONDARY", "AXIAL"], CT, "secondary"),
        (["ORIGINAL", "PRIMARY"], "Secondary Capture Image Storage", "secondary"),
        ([], "Secondary Capture Image Storage", "secondary"),
        ([], CT, "unknown"),
        ([""], CT, "unknown"),
        (["AXIAL"], CT, "unknown"),
    ],
)
def test_image_kind(image_type: list[str], sop_class: str, kind: str) -> None:
    assert image_kind(image_type, sop_class) == kind


@pytest.mark.parametrize(
    ("manufacturer", "name"),
    [
        ("GE MEDICAL SYSTEMS", "ge"),
        ("GE Healthcare", "ge"),
        ("General Electric", "ge"),
        ("SIEMENS", "siemens"),
        ("Siemens Healthineers", "siemens"),
        ("Philips", "philips"),
        ("TOSHIBA", "canon"),
        ("Canon Medical Systems", "canon"),
        ("UIH", "other"),
        ("GENESIS IMAGE", "other"),
        ("", "unknown"),
    ],
)
def test_vendor(manufacturer: str, name: str) -> None:
    assert vendor(manufacturer) == name


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([" BONEPLUS "], "BONEPLUS"),
        (["Br38f", "3"], "Br38f\\3"),
        (["x" * 99], "x" * 64),
    ],
)
def test_kernel(values: list[str], text: str) -> None:
    assert kernel(values) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "BONEPLUS", "Bone Plus", "HD BONE", "EDGE", "STANDARD", "STD+", "LUNG", "B60f", "U90u",
        "Br64f\\3", "Qr69", "Hr60", "I31f", "YC", "YD", "D", "L", "UB", "XCB", "FC30", "FC86", "31",
        "Soft Tissue Reconstruction", "BODY SHARP", "B_SHARP_C", "VSOFT",
    ],
)  # fmt: skip
def test_names_of_vendors_are_kernels(text: str) -> None:
    for name in (text, text.lower()):
        assert is_kernel_name(name)


@pytest.mark.parametrize(
    "text",
    ["Thornabee^Greta", "Thornabee", "Kim", "Li", "000123", "AB1234", "Müller", "B60f Greta", "金"],
)
def test_what_may_be_a_person_is_no_kernel(text: str) -> None:
    assert not is_kernel_name(text)


@given(st.text(max_size=30))
@settings(deadline=None, max_examples=50)
def test_modality_and_rescale_type_let_no_free_text_through(text: str) -> None:
    assert modality(text) in ("", "?") or modality(text).isupper()
    assert rescale_type(text) in ("", "?", "OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "PCT")


@pytest.mark.parametrize(
    "text",
    [
        "Abdomen venous", "ABD W/O & W CONTRAST", "C+", "Thorax +C", "mit KM", "FDG_TK_KM", "CTA",
        "post IV contrast", "pre/post contrast", "arteriell 1.0", "AVEC INJECTION", "con mdc",
        "Abd 1.25 CE", "Bolus tracking", "angiography", "CT myelogram", "enhanced", "Iopamidol 370",
        "腹部增强", "平扫+增强", "动脉期", "造影", "조영",
    ],
)  # fmt: skip
def test_descriptions_that_name_contrast(text: str) -> None:
    assert describes_contrast(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "L-SPINE BONE 4.0", "CT L-SPINE W/O", "w/o contrast", "non-contrast", "unenhanced",
        "NO IV CONTRAST", "Pre-contrast", "Thorax nativ", "ohne KM", "senza mdc", "SANS INJECTION",
        "kontrasts\u0131z", "ABD C-", "portable", "CERVICAL", "ACE", "5 CM",
        "腹部平扫", "非增强", "非造影",
        "비조영",
    ],
)  # fmt: skip
def test_descriptions_that_do_not(text: str) -> None:
    assert not describes_contrast(text)


def test_modality() -> None:
    assert [modality(text) for text in ("CT", "", "ct", "THORNABEE GRETA")] == ["CT", "", "?", "?"]


def test_only_uids_of_the_standard_are_named() -> None:
    assert standard_name("1.2.840.10008.5.1.4.1.1.2", "SOP Class") == CT
    assert standard_name("1.2.840.10008.1.2", "Transfer Syntax") == "Implicit VR Little Endian"
    assert standard_name("1.2.840.10008.1.2", "SOP Class") == "private"
    assert standard_name("1.2.276.0.7230010.3", "SOP Class") == "private"
    assert standard_name("Thornabee", "SOP Class") == "private"
    assert standard_name("", "SOP Class") == ""
