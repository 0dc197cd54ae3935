import io

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.ct_builder import ct_slice

from dsnet.dicom.identifying import GRAPHIC, PRIVATE, Value, collect, iso_date


def header(syntax: str = ExplicitVRLittleEndian, **elements: object) -> Dataset:
    """Return a header as a file in that syntax gives it: unread until looked at."""
    dataset = ct_slice(**elements)
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return pydicom.dcmread(stream)


def texts(dataset: Dataset, kind: str) -> list[str]:
    return [value.text for value in collect(dataset) if value.kind == kind]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_table_says_what_identifies(syntax: str) -> None:
    values = collect(header(syntax, StudyTime="101112", PatientAge="055Y", StationName="CT\\B"))
    assert Value("PatientName", "name", "Thornabee^Greta") in values
    assert Value("SeriesDate", "date", "2020-03-01") in values
    assert Value("SeriesInstanceUID", "uid", "1.2.3.4") in values
    assert [value.text for value in values if value.kind == "StationName"] == ["CT", "B"]
    kinds = {value.kind for value in values}
    assert not kinds & {"Manufacturer", "ConvolutionKernel", "StudyTime", "PatientAge", "StudyDate"}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_nested_private_and_graphic_elements(syntax: str) -> None:
    inner, outer = Dataset(), Dataset()
    inner.OperatorsName, inner.ContributionDateTime = "Yarrow^Ida", "20200302101112"
    outer.ContributingEquipmentSequence = Sequence([inner])
    dataset = ct_slice(ReferencedSeriesSequence=Sequence([outer]))
    block = dataset.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "LO", "Thornabee\\G")
    block.add_new(2, "UN", b"Greta T. \0")
    block.add_new(3, "OB", bytes(range(64)))
    block.add_new(4, "SQ", Sequence([inner]))
    dataset.add_new((0x6002, 0x0022), "LO", "for Thornabee")
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    written = pydicom.dcmread(stream)
    assert "Yarrow^Ida" in [value.text for value in collect(written)]
    assert "2020-03-02" in texts(written, "ContributionDateTime")
    assert any("Thornabee" in text for text in texts(written, PRIVATE))
    assert "Greta T." in texts(written, PRIVATE)
    assert texts(written, GRAPHIC) == ["for Thornabee"]
    assert not any("MAKER" in value.text for value in collect(written))


def test_other_character_sets() -> None:
    dataset = header(SpecificCharacterSet="ISO_IR 192", PatientName="Gr\xf6\xdfl^\u0141")
    assert texts(dataset, "PatientName") == ["Gr\xf6\xdfl^\u0141"]


@pytest.mark.parametrize(
    ("text", "date"),
    [("20200301", "2020-03-01"), ("2020.03.01", "2020-03-01"), ("2020030110", "2020-03-01")],
)
def test_dates(text: str, date: str) -> None:
    assert iso_date(text) == date


@pytest.mark.parametrize("text", ["", "2020", "20201301", "2020033a", "Thornabee"])
def test_what_is_no_date(text: str) -> None:
    assert iso_date(text) == ""
