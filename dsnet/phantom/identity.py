"""Invented people with everything that identifies a patient in a hospital's files.

No name is that of a person; each stands for PHI, so that a test can search every output for it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

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
        """The family name, which also stands in file names and free text."""
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
        """Every identifying string that the files carry."""
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


def draw_identity(rng: np.random.Generator, number: int) -> Identity:
    """Return the identity of patient `number`; name, ID and accession are nobody else's."""
    heads, tails, givens = _HEADS.split(), _TAILS.split(), _GIVENS.split()
    # A step coprime to the count visits each combination, and each number of eight digits, once.
    place = number * 1_009 % (len(heads) * len(tails) * len(givens))
    place, head = divmod(place, len(heads))
    given, tail = divmod(place, len(tails))
    surname = heads[head] + tails[tail]
    patient_id = f"00{(number * 61_803_399 + 10_271_831) % 10**8:08d}"
    ct_date = date(2015, 1, 1) + timedelta(days=int(rng.integers(2200)))
    birth_date = ct_date - timedelta(days=int(rng.integers(50 * 366, 86 * 366)))
    # A stream of its own: what is drawn from it later moves no pixel.
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
