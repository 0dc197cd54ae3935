"""Invented people: who they are, how dense their bone is, and how they are built.

No name is that of a person; each stands for PHI, so that a test can search every output for it.
"""

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dsnet.schemas import CLASSES, LEVELS

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
ALL_LEVELS = ("T12", *LEVELS, "L5")
"""Vertebrae of the phantom, from head to foot."""

BOUNDARY_TENTHS = {"normal": -10, "osteoporosis": -25}
"""T-scores exactly on a WHO threshold, by the class that they belong to.

docs/interpretations.md#18
"""

CUE_SCATTER = {"trabecular_hu": 1.0, "texture_hu": 1.1, "cortex_mm": 0.9}
"""Standard deviation, in T-score units, of the error of a patient's cue.

1.0 for the HU gives a correlation of 0.7 with the T-score where T-scores have a standard deviation
of 1, as in the population in which the published 0.6 to 0.7 were found.
"""

LEVEL_SCATTER = 0.25
"""Standard deviation of a level's T-score about its patient's."""

_Numbers = NDArray[np.float64]

# Mean, standard deviation, lowest and highest T-score of a class, in tenths.
_T_TENTHS = {
    "normal": (2.0, 5.5, -10, 20),
    "osteopenia": (-17.5, 3.5, -24, -11),
    "osteoporosis": (-34.0, 5.0, -50, -25),
}


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
        before = f"{self.ct_date:%m%d}" < f"{self.birth_date:%m%d}"
        return self.ct_date.year - self.birth_date.year - before

    @property
    def strings(self) -> tuple[str, ...]:
        """Every identifying string in the files."""
        texts = (text for text in vars(self).values() if isinstance(text, str) and text != self.sex)
        names = (self.name, self.physician, self.reader)
        return (*texts, *(name.partition("^")[0] for name in names), f"{self.birth_date:%Y%m%d}")


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


def item(**attributes: object) -> Dataset:
    """Return a dataset of these DICOM keywords and values."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def add_identifiers(dataset: Dataset, who: Identity) -> None:
    """Add identifiers where tools overlook them: nested, private, and in free text.

    ContributingEquipmentSequence (0018,A001) catches tools that work through a list of tags: the
    list of PS3.15 does not name it, but does name attributes of its items.
    """
    day = f"{who.ct_date:%Y%m%d}"
    dataset.OtherPatientIDsSequence = [item(PatientID=who.other_id, TypeOfPatientID="TEXT")]
    purpose = item(
        CodeValue="109101", CodingSchemeDesignator="DCM", CodeMeaning="Acquisition Equipment"
    )
    equipment = item(
        PurposeOfReferenceCodeSequence=[purpose],
        Manufacturer="RELAY",
        InstitutionName=who.hospital,
        InstitutionAddress=who.address,
        StationName=who.station,
        OperatorsName=who.technician,
        ContributionDateTime=f"{day}120000",
        ContributionDescription=f"sent for {who.surname}",
    )
    dataset.ContributingEquipmentSequence = [equipment]
    dataset.OperatorsName = who.technician
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = who.address, who.phone
    dataset.PatientComments = f"{who.surname} asks to be called, {who.phone}"
    dataset.AdditionalPatientHistory = f"Referred by {who.physician.partition('^')[0]}"
    ris = dataset.private_block(0x0009, "RIS EXPORT 2.1", create=True)
    ris.add_new(0x01, "LO", who.name)
    nested = item(PatientName=who.name, AccessionNumber=who.accession, StudyDate=day)
    ris.add_new(0x02, "SQ", [nested])
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


@dataclass(frozen=True)
class Cues:
    """What the image of one vertebra shows of its T-score.

    Attributes
    ----------
    trabecular_hu : float
        Mean HU of trabecular bone.
    texture_hu : float
        Standard deviation of the trabecular bone's blotches, 3 to 6 mm wide.
    cortex_mm : float
        Thickness of the body's cortical shell.
    """

    trabecular_hu: float
    texture_hu: float
    cortex_mm: float


@dataclass(frozen=True)
class Bone:
    """One patient's bone.

    Attributes
    ----------
    tenths : int
        Lumbar T-score as DXA reports it, times ten: exact, unlike a binary float.
    deviation : dict of str to float
        How far each level's T-score lies from the patient's; L1 to L4 sum to zero.
    scatter : tuple of float
        Error of each cue in T-score units, in the order of `CUE_SCATTER`.
    """

    tenths: int
    deviation: dict[str, float]
    scatter: tuple[float, ...]

    def cues(self, level: str | None = None) -> Cues:
        """Return the cues of `level` or, without a level, those of the patient's own T-score."""
        t_score = self.tenths / 10 + (self.deviation[level] if level else 0.0)
        hu, texture, cortex = (t_score + error for error in self.scatter)
        return Cues(
            trabecular_hu=float(156 * np.exp(0.1925 * (hu - 0.2))),
            texture_hu=float(8 + 95 / (1 + np.exp(1.1 * (texture + 2.5)))),
            cortex_mm=float(2.7 * np.exp(0.26 * cortex)),
        )

    def level_tenths(self, level: str) -> int:
        """Return the level's own T-score as DXA reports it, times ten."""
        return round(self.tenths + 10 * self.deviation[level])


def t_score_table() -> tuple[_Numbers, _Numbers]:
    """Return every T-score of the phantom and its probability within each class.

    Returns
    -------
    t_scores : array, shape (n,)
        In steps of 0.1, ascending.
    probability : array, shape (3, n)
        Rows in the order of `CLASSES`, each summing to 1.
    """
    tenths = np.arange(-50, 21)
    rows = []
    for name in CLASSES:
        mean, deviation, lowest, highest = _T_TENTHS[name]
        weight = np.exp(-0.5 * ((tenths - mean) / deviation) ** 2)
        weight[(tenths < lowest) | (tenths > highest)] = 0
        rows.append(weight / weight.sum())
    return tenths / 10, np.array(rows)


def sample_bone(rng: np.random.Generator, label: str, *, boundary: bool = False) -> Bone:
    """Return the bone of a patient of class `label`.

    Parameters
    ----------
    rng : Generator
    label : {"normal", "osteopenia", "osteoporosis"}
    boundary : bool
        Whether the T-score shall be the threshold itself, where the class has one.
    """
    t_scores, probability = t_score_table()
    tenths = round(10 * rng.choice(t_scores, p=probability[CLASSES.index(label)]))
    if boundary and label in BOUNDARY_TENTHS:
        tenths = BOUNDARY_TENTHS[label]
    deviation = dict(zip(ALL_LEVELS, rng.normal(0, LEVEL_SCATTER, len(ALL_LEVELS)), strict=True))
    mean = sum(deviation[level] for level in LEVELS) / len(LEVELS)
    for level in LEVELS:
        # The deviations of four values from their own mean; the factor restores their spread.
        deviation[level] = float((deviation[level] - mean) * np.sqrt(4 / 3))
    scatter = tuple(float(rng.normal(0, sigma)) for sigma in CUE_SCATTER.values())
    return Bone(tenths, deviation, scatter)


@dataclass(frozen=True)
class Anatomy:
    """One patient's trunk, muscles, spine and vessels, without the bone's density.

    Attributes
    ----------
    half_width_mm, half_depth_mm : float
        Of the trunk.
    fat_mm : float
        Thickness of the fat below the skin.
    fascia_mm : float
        y of the back muscles' surface.
    muscle : float
        Size of the spine's muscles, relative to the average.
    fatty : float
        Share of the muscle that is fat, 0 to 0.5.
    vertebra_width_mm, vertebra_depth_mm : float
        Of the L3 body.
    turn_deg : float
        Rotation of the spine about its axis.
    lean_mm : float
        From the spine to the trunk's midline.
    scoliosis_mm, lordosis_mm : float
        How far the spine's curves shift its middle sideways and forwards.
    calcified : bool
        Whether the aorta's wall holds calcium.
    vessel_hu : float
        HU of blood; above 150 with a contrast agent.
    """

    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    fascia_mm: float
    muscle: float
    fatty: float
    vertebra_width_mm: float
    vertebra_depth_mm: float
    turn_deg: float
    lean_mm: float
    scoliosis_mm: float
    lordosis_mm: float
    calcified: bool
    vessel_hu: float

    @property
    def centre_mm(self) -> tuple[float, float]:
        """The trunk's centre, relative to the vertebral body's."""
        return self.lean_mm, self.fascia_mm + self.fat_mm - self.half_depth_mm

    def at(self, position: "SlicePosition") -> tuple["Anatomy", tuple[float, float]]:
        """Return the anatomy relative to the vertebra at `position`, and that vertebra's shift.

        The shift is what the spine's curves add in x and y, in mm.
        """
        bow = math.sin(math.pi * position.depth / 5)
        x, y = self.scoliosis_mm * bow, -self.lordosis_mm * bow
        return replace(self, lean_mm=self.lean_mm - x, fascia_mm=self.fascia_mm - y), (x, y)


@dataclass(frozen=True)
class SlicePosition:
    """Where a slice goes through the spine.

    Attributes
    ----------
    level : str
    height : float
        From -1, the lower endplate, to 1, the upper one.
    implant : {"", "screws", "cement"}
    """

    level: str
    height: float
    implant: str = ""

    @property
    def depth(self) -> float:
        """The level's number from 0 at T12 to 5 at L5, with the height as a fraction."""
        return ALL_LEVELS.index(self.level) - self.height / 2


def sample_anatomy(rng: np.random.Generator, *, contrast: bool = False) -> Anatomy:
    """Return a patient's anatomy, which is independent of the bone's density."""
    fat = float(rng.uniform(8, 32))
    return Anatomy(
        half_width_mm=float(rng.uniform(138, 158) + 1.1 * fat),
        half_depth_mm=float(rng.uniform(88, 102) + 0.9 * fat),
        fat_mm=fat,
        fascia_mm=float(rng.uniform(68, 72)),
        muscle=float(rng.uniform(0.85, 1.12)),
        fatty=float(rng.uniform(0.03, 0.4)),
        vertebra_width_mm=float(rng.uniform(48.5, 52.0)),
        vertebra_depth_mm=float(rng.uniform(33.5, 37.0)),
        turn_deg=float(rng.normal(0, 3)),
        lean_mm=float(rng.normal(0, 3)),
        scoliosis_mm=float(rng.normal(0, 3)),
        lordosis_mm=float(rng.uniform(2, 8)),
        calcified=bool(rng.random() < 0.4),
        vessel_hu=float(rng.uniform(190, 290) if contrast else rng.uniform(35, 48)),
    )
