"""The patients of CT, DXA and clinical table: history, sex and age, and IDs that come near.

IDs without a partner are listed, never repaired: a near miss may be a slip of the pen or another
patient. They are identifying, so the list stays in the private folder and counts alone leave it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, permutations
from pathlib import Path

import pandas as pd

from dsnet.cohort.exams import DxaTable
from dsnet.cohort.spreadsheet import Row, patient_ids, read_table
from dsnet.config.cohort import Clinical
from dsnet.errors import UserError, collectable
from dsnet.files import write_spreadsheet_csv
from dsnet.private import PrivateCohort
from dsnet.schemas import HISTORIES, PATIENTS


@dataclass(frozen=True)
class UnmatchedId:
    """An ID without a partner, or with a second spelling.

    Attributes
    ----------
    side : str
        The table that has it: ``ct``, ``dxa`` or ``clinical``.
    patient_id : str
    near : tuple of (str, str)
        IDs that come near, and how they differ.
    """

    side: str
    patient_id: str
    near: tuple[tuple[str, str], ...]


def _letters(name: str) -> str:
    """Return the letters and digits of a name, without the width and the signs between them."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def _decoded(name: str, encoding: str) -> str:
    """Return a name whose header did not state its character set, as another would read it."""
    try:
        return name.encode("latin-1").decode(encoding)
    except UnicodeError:
        return name


def _swaps(name: str) -> Iterable[str]:
    """Yield each name with two neighbouring digits exchanged."""
    for place, (one, other) in enumerate(pairwise(name)):
        if one.isdigit() and other.isdigit() and one != other:
            yield name[:place] + other + one + name[place + 2 :]


_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("leading zeros", lambda name: name.lstrip("0")),
    ("blanks", lambda name: "".join(name.split())),
    ("case", str.casefold),
    ("blanks, case and leading zeros", lambda x: "".join(x.split()).casefold().lstrip("0")),
    ("a decimal point", lambda name: re.sub(r"(?<=\d)[.,]0+$", "", name)),
    ("signs or full-width letters", _letters),
    *(
        (f"bytes of {encoding}", lambda name, encoding=encoding: _decoded(name, encoding))
        for encoding in ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "utf-8")
    ),
)
"""How two spellings of one ID differ, and the form in which they are equal."""


def near_misses(ids_of: Mapping[str, Iterable[str]]) -> list[UnmatchedId]:
    """Return the IDs without a partner, and those that have a second spelling anywhere.

    Two spellings on both sides are two patients, one of whom may train what the other tests.

    Parameters
    ----------
    ids_of : mapping of str to iterable of str
        Patient IDs by table: first those of the CT, then of ``dxa`` and others; blank ones are left
        out. An ID of the CT needs a partner in the second.

    Returns
    -------
    list of UnmatchedId
        In the order of the tables and IDs. Spellings are compared with those of all tables;
        swapped digits with those of other tables that have no partner, since in a run of numbers
        every ID has neighbours.
    """
    known = {side: set(ids) - {""} for side, ids in ids_of.items()}
    ct, first = list(known)[:2]
    alone = {side: ids - known[first if side == ct else ct] for side, ids in known.items()}
    spellings = _spellings(sorted(set().union(*known.values())))
    found = []
    for side, ids in known.items():
        slips = set().union(*(own for other, own in alone.items() if other != side))
        for name in sorted(ids):
            if side != ct and name in known[ct]:
                continue  # which the rows of the CT have said
            near = dict(spellings[name])
            if name in alone[side]:
                near |= {other: "a swapped digit" for other in _swaps(name) if other in slips}
            if near or name in alone[side]:
                found.append(UnmatchedId(side, name, tuple(sorted(near.items()))))
    return found


def check_some_match(table: str, ids: Iterable[str], ct: Iterable[str]) -> None:
    """Make sure that a table is of the patients of the CT.

    Parameters
    ----------
    table : str
        Its name in a message.
    ids, ct : iterable of str
        Patient IDs of the table and of the CT; blank ones are left out.

    Raises
    ------
    UserError
        If none of its patients has a CT.
    """
    own, scanned = set(ids) - {""}, set(ct) - {""}
    if own and scanned and not own & scanned:
        raise UserError(
            table,
            expected="a patient_id that some CT header gives, leading zeros and all",
            came=f"{len(own)} patients, none of them among the {len(scanned)} of the CT",
            remedy="correct the column patient_id, or bring the table of these images; "
            "dsnet check --show-private lists what comes near",
        )


def near_misses_sentence(identity: Mapping[str, int]) -> str | None:
    """Return what is to be known of the patient IDs, of ``identity`` in ``flow.json``.

    Examples
    --------
    >>> near_misses_sentence({"near_misses": 0}) is None
    True
    """
    number = identity.get("near_misses", 0)
    if not number:
        return None
    return (
        f"{number:,} patient IDs nearly equal another one, by leading zeros or case for instance; "
        "a patient without DXA may be one of them: see dsnet check, or id_match.csv in the private "
        "folder."
    )


def write_id_match(unmatched: Sequence[UnmatchedId], path: Path) -> None:
    """Write one row for each ID and near miss, for the hospital's eyes alone (mode 600)."""
    rows = [
        (one.side, one.patient_id, other, how)
        for one in unmatched
        for other, how in one.near or (("", ""),)
    ]
    columns = ["side", "patient_id", "near_miss", "difference"]
    write_spreadsheet_csv(path, pd.DataFrame(rows, columns=columns), mode=0o600)


def _spellings(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return, for each name, the others that differ in spelling alone, and how."""
    near: dict[str, dict[str, str]] = {name: {} for name in names}
    for how, form in _FORMS:
        groups: dict[str, list[str]] = defaultdict(list)
        for name in names:
            groups[form(name)].append(name)
        for name, other in chain.from_iterable(permutations(own, 2) for own in groups.values()):
            near[name].setdefault(other, how)
    return near


_COLUMNS = (*HISTORIES, "sex", "age", "height_cm", "weight_kg")

History = Mapping[str, bool | None]
"""By column of `HISTORIES`; None where unknown."""

_YES = "yes y 1 true ja j oui si sí sì sim tak ano igen evet да 是 有 はい あり 예"
_NO = "no n 0 false nein non não nao nej nee nei nie ne nem nu hayir нет 否 无 無 没有 いいえ"
_UNKNOWN = (
    "? unknown unk n/a na n.a. k.a. unbekannt inconnu desconocido sconosciuto desconhecido "
    "onbekend ukendt okänd nieznane neznámo неизвестно 不详 不明 未知"
)
_DEFAULTS = Clinical()


def read_clinical(path: Path, params: Clinical = _DEFAULTS) -> dict[str, History]:
    """Return each patient's history by patient ID; empty where there is no such file.

    Parameters
    ----------
    path : Path
        ``clinical.csv`` or ``clinical.xlsx``.
    params : Clinical
        Words for yes, no and unknown beside the known ones.

    Raises
    ------
    UserError
        Naming row and column of what is neither yes, no nor empty, the rows of a patient that
        disagree, or a row with values and no patient ID.
    """
    if not path.exists():
        return {}
    histories: dict[str, History] = {}
    first_row: dict[str, int] = {}
    rows = read_table(path, ["patient_id", *HISTORIES], _COLUMNS)
    answers = _answers(params)
    for row, patient in zip(rows, patient_ids(rows, _COLUMNS), strict=True):
        if not patient:
            continue
        history: dict[str, bool | None] = {}
        for column in HISTORIES:
            with collectable():
                history[column] = _answer(row, column, answers)
        first_row.setdefault(patient, row.number)
        with collectable():
            if histories.setdefault(patient, history) != history:
                raise UserError(
                    f"{path.name} rows {first_row[patient]} and {row.number}",
                    expected="one history for one patient",
                    came="two that disagree",
                    remedy="delete the wrong row",
                    private=patient,
                )
    return histories


def _answers(params: Clinical) -> dict[str, bool | None]:
    """Return what each word means; those of the config come first."""
    words: tuple[tuple[bool | None, str, tuple[str, ...]], ...] = (
        (None, _UNKNOWN, params.unknown_words),
        (False, _NO, params.no_words),
        (True, _YES, params.yes_words),
    )
    answers: dict[str, bool | None] = {"": None}
    for meaning, known, _ in words:
        answers.update(dict.fromkeys(map(_plain, known.split()), meaning))
    for meaning, _, own in words:
        answers.update(dict.fromkeys(map(_plain, own), meaning))
    return answers


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).strip().casefold()


def _answer(row: Row, column: str, answers: Mapping[str, bool | None]) -> bool | None:
    text = row.cells[column]
    if _plain(text) not in answers:
        raise row.error(
            column,
            expected="yes, no or nothing",
            remedy="correct the cell, or name the word in clinical.yes_words, no_words or "
            "unknown_words",
        )
    return answers[_plain(text)]


OLDEST = 90
"""Ages above 89 are one group: 45 CFR 164.514(b)(2)(i)(C) counts them among the identifiers."""

_SEX = {
    **dict.fromkeys(("f", "female", "w", "woman"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
    **dict.fromkeys(("o", "other", "d", "diverse"), "other"),
}
_AGE = re.compile(r"0*(\d{1,3})(?:[.,]\d+)?\s*Y?", re.ASCII | re.IGNORECASE)
_ANSWER = {True: "yes", False: "no", None: ""}


def patients_table(
    ct: pd.DataFrame,
    dxa: DxaTable,
    histories: Mapping[str, History],
    unmatched: Sequence[UnmatchedId],
    *,
    clinical: Path,
    private: PrivateCohort,
) -> pd.DataFrame:
    """Return `dsnet.schemas.PATIENTS`: those of the CT first, in the order of the index.

    Then those of the DXA table and of ``clinical.csv`` alone, in the order of their rows.

    Parameters
    ----------
    ct : DataFrame
        The files: ``patient_key`` and, from the private map, ``patient_id``.
    dxa : DxaTable
    histories : mapping of str to History
        By patient ID.
    unmatched : sequence of UnmatchedId
        IDs without a partner, with what comes near.
    clinical : Path
        ``clinical.csv``, for sex and age; it need not exist.
    private : PrivateCohort
        Makes the keys of patients without CT.
    """
    people = _people(clinical)
    near = {one.patient_id: len(one.near) for one in unmatched}
    scanned = ct.loc[ct["patient_key"] != "", ["patient_key", "patient_id"]]
    id_of = dict(scanned.drop_duplicates("patient_key").itertuples(index=False, name=None))
    in_ct = set(id_of)
    scanned_ids = set(id_of.values())
    others = [name for name in (*dxa.exams, *histories) if name not in scanned_ids]
    id_of.update({private.pseudonym("patient", name): name for name in others})
    rows = [
        (
            key,
            key in in_ct,
            patient_id in dxa.exams,
            patient_id in histories,
            *people.get(patient_id, ("", None)),
            *(_ANSWER[histories.get(patient_id, {}).get(name)] for name in HISTORIES),
            near.get(patient_id, 0),
        )
        for key, patient_id in id_of.items()
    ]
    types = {name: column.dtype.type for name, column in PATIENTS.columns.items()}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _people(clinical: Path) -> dict[str, tuple[str, int | None]]:
    """Return sex and age by patient ID; empty without ``clinical.csv``."""
    if not clinical.exists():
        return {}
    return {
        row.cells["patient_id"]: (
            sex_of(row.cells.get("sex", "")),
            age_of(row.cells.get("age", "")),
        )
        for row in read_table(clinical, ["patient_id"], ["sex", "age"])
        if row.cells["patient_id"]
    }


def sex_of(text: str) -> str:
    """Return female, male, other, or "" where it is unknown.

    Examples
    --------
    >>> sex_of(" F "), sex_of("male"), sex_of("?")
    ('female', 'male', '')
    """
    return _SEX.get(text.strip().lower(), "")


def age_of(text: str) -> int | None:
    """Return full years of ``63``, ``63.5`` or DICOM's ``063Y``; None for anything else.

    Examples
    --------
    >>> age_of("063Y"), age_of("63.9"), age_of("94"), age_of("old")
    (63, 63, 90, None)
    """
    match = _AGE.fullmatch(text.strip())
    return min(int(match[1]), OLDEST) if match else None
