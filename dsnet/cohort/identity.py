"""Patient IDs of the scans and of the DXA table that have no partner, and what comes near.

Nothing is repaired: a near miss may be a slip of the pen or another patient. IDs are identifying,
so the list stays in the private folder and counts alone leave it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from dsnet.errors import UserError
from dsnet.files import write_spreadsheet_csv

SIDES = ("ct", "dxa")

_COLUMNS = ("side", "patient_id", "near_miss", "difference")


@dataclass(frozen=True)
class UnmatchedId:
    """An ID that only one side knows.

    Attributes
    ----------
    side : {"ct", "dxa"}
        Which one.
    patient_id : str
    near : tuple of (str, str)
        IDs of the other side that come near, and how they differ.
    """

    side: str
    patient_id: str
    near: tuple[tuple[str, str], ...]


def _without_zeros(name: str) -> str:
    return name.lstrip("0")


def _without_blanks(name: str) -> str:
    return "".join(name.split())


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
    ("leading zeros", _without_zeros),
    ("blanks", _without_blanks),
    ("case", str.casefold),
    ("blanks, case and leading zeros", lambda x: _without_zeros(_without_blanks(x).casefold())),
    ("a decimal point", lambda name: re.sub(r"(?<=\d)[.,]0+$", "", name)),
    ("signs or full-width letters", _letters),
    *(
        (f"bytes of {encoding}", lambda name, encoding=encoding: _decoded(name, encoding))
        for encoding in ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "utf-8")
    ),
)
"""How two spellings of one ID differ, and the form in which they are equal."""


def unmatched_ids(ct: Iterable[str], dxa: Iterable[str]) -> list[UnmatchedId]:
    """Return every ID without a partner on the other side, the scans' first, each in order.

    Parameters
    ----------
    ct, dxa : iterable of str
        Patient IDs as text; blank ones belong to no one and are left out.
    """
    known = (set(ct) - {""}, set(dxa) - {""})
    found = []
    for side, own, other in zip(SIDES, known, known[::-1], strict=True):
        look = _Likeness(sorted(other))
        found += [UnmatchedId(side, name, look.near(name)) for name in sorted(own - other)]
    return found


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
    look = _Likeness(sorted(set().union(*known.values())))
    found = []
    for side, ids in known.items():
        slips = set().union(*(own for other, own in alone.items() if other != side))
        for name in sorted(ids):
            if side != ct and name in known[ct]:
                continue  # which the rows of the CT have said
            near = look.spellings(name)
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


def match_counts(unmatched: Sequence[UnmatchedId], dxa: Iterable[str]) -> dict[str, int]:
    """Return what may be said of the match in public.

    Returns
    -------
    dict
        ``dxa_patients``, of them ``matched``; ``ct_without_dxa`` and ``dxa_without_ct``, patients;
        ``near_misses``, how many of the latter two have one.
    """
    patients = len(set(dxa) - {""})
    without = {side: sum(one.side == side for one in unmatched) for side in SIDES}
    return {
        "dxa_patients": patients,
        "matched": patients - without["dxa"],
        "ct_without_dxa": without["ct"],
        "dxa_without_ct": without["dxa"],
        "near_misses": sum(bool(one.near) for one in unmatched),
    }


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
    write_spreadsheet_csv(path, pd.DataFrame(rows, columns=list(_COLUMNS)), mode=0o600)


class _Likeness:
    """Finds which of `names` comes near a name; each way to differ is one look-up."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self.forms: list[tuple[str, Callable[[str], str], dict[str, list[str]]]] = []
        for how, form in _FORMS:
            groups: dict[str, list[str]] = defaultdict(list)
            for name in names:
                groups[form(name)].append(name)
            self.forms.append((how, form, groups))

    def spellings(self, name: str) -> dict[str, str]:
        """Return other names that differ in spelling alone, and how."""
        found: dict[str, str] = {}
        for how, form, groups in self.forms:
            for other in groups.get(form(name), ()):
                if other != name:
                    found.setdefault(other, how)
        return found

    def near(self, name: str) -> tuple[tuple[str, str], ...]:
        found = self.spellings(name)
        for other in _swaps(name):
            if other in self.names:
                found.setdefault(other, "a swapped digit")
        return tuple(sorted(found.items()))
