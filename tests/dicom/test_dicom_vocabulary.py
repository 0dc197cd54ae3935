import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.vocabulary import (
    image_kind,
    kernel,
    modality,
    names_contrast,
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
    ("values", "code"),
    [
        ([], ""),
        ([" BONEPLUS "], "BONEPLUS"),
        (["Br38f", "3"], "Br38f\\3"),
        (["STD+"], "STD+"),
        (["FC30"], "FC30"),
        (["Soft Tissue Reconstruction"], "Soft Tissue Reco"),
        (["Thornabee^Greta"], "?"),
        (["Müller"], "?"),
    ],
)
def test_kernel(values: list[str], code: str) -> None:
    assert kernel(values) == code


@given(st.text(max_size=30))
@settings(deadline=None, max_examples=50)
def test_kernel_and_modality_let_no_free_text_through(text: str) -> None:
    assert len(kernel([text])) <= 16
    assert "^" not in kernel([text])
    assert modality(text) in ("", "?") or modality(text).isupper()


def test_modality() -> None:
    assert [modality(text) for text in ("CT", "", "ct", "THORNABEE GRETA")] == ["CT", "", "?", "?"]


def test_only_uids_of_the_standard_are_named() -> None:
    assert standard_name("1.2.840.10008.5.1.4.1.1.2", "SOP Class") == CT
    assert standard_name("1.2.840.10008.1.2", "Transfer Syntax") == "Implicit VR Little Endian"
    assert standard_name("1.2.840.10008.1.2", "SOP Class") == "private"
    assert standard_name("1.2.276.0.7230010.3", "SOP Class") == "private"
    assert standard_name("Thornabee", "SOP Class") == "private"
    assert standard_name("", "SOP Class") == ""
