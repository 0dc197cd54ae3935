"""Invented people, and the places in a DICOM header where their identifiers stand.

No name is that of a person; each stands for PHI, so that a test can search every output for it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_HEADS = (
    "Brask Corvel Drenth Eskild Fjorn Galdr Hestrav Isolf Jorvan Kesmar Lundrev Morvath Nestrod"
)
_TAILS = (
    "acker beck brann dottir elund feld grave holm ikson jarde kvist lund mark nesse orsk pilde"
)
_GIVENS = (
    "Aldith Berwyn Cadoc Delwyn Eluned Ffion Gwilym Hywel Iolana Jorund Kelda Llewella Merewen "
    "Nerys Olwena"
)
_HOSPITALS = (
    "Skerrywold Infirmary",
    "Tarnmouth District Hospital",
    "Hospital of Saint Ebba, Vorrington",
)
_PHYSICIANS = (
    "Halvorstrand^Piotrine^^Dr",
    "Oduyemira^Tamsela^^Dr",
    "Kiragossian^Levontin^^Prof",
    "Thistlebarrow^Ingamar^^Dr",
)
_TECHNICIANS = ("Quillfeather^Osmund", "Yarrowmere^Tibalt", "Wexcombe^Annot")
_STREETS = ("Plovergate", "Hazelfirth Lane", "Old Cresselly Road")
_CONTACT = 0x1D


@dataclass(frozen=True)
class Identity:
    """One invented patient.

    Attributes
    ----------
    name : str
        PatientName (0010,0010).
    patient_id : str
        Ten digits that begin with zeros: a reader that takes it for a number loses them.
    sex : {"F", "M"}
    birth_date, ct_date : date
    accession : str
    folder : str
        Below ``dicom/``; holds the name and the ID.
    hospital, physician, reader : str
    other_id : str
        Number of the patient in another hospital's system.
    phone, address : str
    technician : str
        OperatorsName (0008,1070).
    station : str
        Name of the scanner in the hospital's network.
    """

    name: str
    patient_id: str
    sex: str
    birth_date: date
    ct_date: date
    accession: str
    folder: str
    hospital: str
    physician: str
    reader: str
    other_id: str
    phone: str
    address: str
    technician: str
    station: str

    @property
    def surname(self) -> str:
        """The family name, which file names and free text hold as well."""
        return self.name.partition("^")[0]

    @property
    def age(self) -> int:
        """Full years at the CT."""
        before = (self.ct_date.month, self.ct_date.day) < (
            self.birth_date.month,
            self.birth_date.day,
        )
        return self.ct_date.year - self.birth_date.year - before

    @property
    def strings(self) -> tuple[str, ...]:
        """Every identifying string in the files."""
        return (
            self.name,
            self.surname,
            self.patient_id,
            f"{self.birth_date:%Y%m%d}",
            self.accession,
            self.folder,
            self.hospital,
            self.physician,
            self.physician.partition("^")[0],
            self.reader,
            self.reader.partition("^")[0],
            self.other_id,
            self.phone,
            self.address,
            self.technician,
            self.station,
        )


def sample_identity(rng: np.random.Generator, number: int) -> Identity:
    """Return the identity of patient `number`; no two share a name, an ID or an accession."""
    heads, tails, givens = _HEADS.split(), _TAILS.split(), _GIVENS.split()
    # A step coprime to the count visits each combination, and each number of eight digits, once.
    combination = number * 1_009 % (len(heads) * len(tails) * len(givens))
    combination, head = divmod(combination, len(heads))
    given, tail = divmod(combination, len(tails))
    surname = heads[head] + tails[tail]
    patient_id = f"00{(number * 61_803_399 + 10_271_831) % 10**8:08d}"
    ct_date = date(2015, 1, 1) + timedelta(days=int(rng.integers(2200)))
    birth_date = ct_date - timedelta(days=int(rng.integers(50 * 366, 86 * 366)))
    # A generator of its own: contact data added later change no pixel.
    contact = np.random.default_rng([_CONTACT, number])
    return Identity(
        name=f"{surname}^{givens[given]}",
        patient_id=patient_id,
        sex="F" if rng.random() < 0.7 else "M",
        birth_date=birth_date,
        ct_date=ct_date,
        accession=f"ACC{(number * 7_368_787 + 4_402_117) % 10**7:07d}",
        folder=f"{surname}_{givens[given]}_{patient_id}",
        hospital=_HOSPITALS[number % len(_HOSPITALS)],
        physician=_PHYSICIANS[number % len(_PHYSICIANS)],
        reader=_PHYSICIANS[(number + 1) % len(_PHYSICIANS)],
        other_id=f"MRN{contact.integers(10**6):06d}Q{number:04d}",
        phone=f"+00 555 {contact.integers(10**3):03d} {contact.integers(10**4):04d}",
        address=f"{contact.integers(1, 200)} {contact.choice(_STREETS)}, Vorrington",
        technician=str(contact.choice(_TECHNICIANS)),
        station=f"TARNCT{1 + number % 3:02d}",
    )


def add_identifiers(dataset: Dataset, who: Identity) -> None:
    """Add identifiers where tools overlook them: nested, private, and in free text.

    ContributingEquipmentSequence (0018,A001) catches tools that work through a list of tags: the
    list of PS3.15 does not name it, but does name attributes of its items.
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


def add_overlay(dataset: Dataset, who: Identity, matrix_px: int) -> None:
    """Add an overlay plane (PS3.3 C.9.2) whose texts name the patient."""
    block = {
        0x0010: ("US", matrix_px),
        0x0011: ("US", matrix_px),
        0x0022: ("LO", f"made for {who.surname}"),
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
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109101", "DCM"
    purpose.CodeMeaning = "Acquisition Equipment"
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
