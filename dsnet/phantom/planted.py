"""Identifiers where tools overlook them: nested, private, in free text and in overlays."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from dsnet.phantom.identity import Identity


def plant(dataset: Dataset, who: Identity) -> None:
    """Add identifiers to a header, beside those that every header has.

    ContributingEquipmentSequence (0018,A001) is the trap for tools that go by a list of tags: the
    list of PS3.15 does not name it, but does name what stands in its items.
    """
    dataset.OtherPatientIDsSequence = Sequence([_other_id(who)])
    dataset.ContributingEquipmentSequence = Sequence([_equipment(who)])
    dataset.OperatorsName = who.technician
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = who.address, who.phone
    dataset.PatientComments = f"{who.surname} asks to be called, {who.phone}"
    dataset.AdditionalPatientHistory = f"Referred by {who.physician.partition('^')[0]}"
    ris = dataset.private_block(0x0009, "RIS EXPORT 2.1", create=True)
    ris.add_new(0x01, "LO", who.name)
    ris.add_new(0x02, "SQ", Sequence([_private_item(who)]))
    archive = dataset.private_block(0x0029, "ARCHIVE COPY", create=True)
    archive.add_new(0x10, "OB", f"{who.hospital};{who.other_id}".encode().ljust(64))


def plant_overlay(dataset: Dataset, who: Identity, matrix_px: int) -> None:
    """Add an overlay plane (PS3.3 C.9.2) whose texts name the patient."""
    block = {
        0x0010: ("US", matrix_px),
        0x0011: ("US", matrix_px),
        0x0022: ("LO", f"drawn for {who.surname}"),
        0x0040: ("CS", "G"),
        0x0050: ("SS", [1, 1]),
        0x0100: ("US", 1),
        0x0102: ("US", 0),
        0x1500: ("LO", who.other_id),
        0x3000: ("OW", bytes(matrix_px * matrix_px // 8)),
        0x4000: ("LT", f"remark on {who.name}"),
    }
    for element, (vr, value) in block.items():
        dataset.add_new((0x6000, element), vr, value)


def _other_id(who: Identity) -> Dataset:
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = who.other_id, "TEXT"
    return item


def _equipment(who: Identity) -> Dataset:
    item = Dataset()
    purpose, code = Dataset(), codes.DCM.AcquisitionEquipment
    purpose.CodeValue, purpose.CodingSchemeDesignator = code.value, code.scheme_designator
    purpose.CodeMeaning = code.meaning
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    item.Manufacturer = "RELAY"
    item.InstitutionName, item.InstitutionAddress = who.hospital, who.address
    item.StationName, item.OperatorsName = who.station, who.technician
    item.ContributionDateTime = f"{who.ct_date:%Y%m%d}120000"
    item.ContributionDescription = f"sent for {who.surname}"
    return item


def _private_item(who: Identity) -> Dataset:
    item = Dataset()
    item.PatientName, item.AccessionNumber = who.name, who.accession
    item.StudyDate = f"{who.ct_date:%Y%m%d}"
    return item
