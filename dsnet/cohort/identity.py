"""Patient IDs of the scans and of the DXA table that have no partner, and what comes near.

Nothing is repaired: a near miss may be a slip of the pen or another patient. IDs are identifying,
so the list stays in the private folder and counts alone leave it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from dsnet.files import whole

SIDES = ("ct", "dxa")

_COLUMNS = ("side", "patient_id", "near_miss", "difference")


@dataclass(frozen=True)
class Lone:
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
)


def lone_ids(ct: Iterable[str], dxa: Iterable[str]) -> list[Lone]:
    """Return every ID without a partner on the other side, the scans' first, each in order.

    Parameters
    ----------
    ct, dxa : iterable of str
        Patient IDs as text; blank ones are nobody's and left out.
    """
    known = (set(ct) - {""}, set(dxa) - {""})
    found = []
    for side, own, other in zip(SIDES, known, known[::-1], strict=True):
        look = _Likeness(sorted(other))
        found += [Lone(side, name, look.near(name)) for name in sorted(own - other)]
    return found


def match_counts(lone: Sequence[Lone], dxa: Iterable[str]) -> dict[str, int]:
    """Return what may be said of the match in public.

    Returns
    -------
    dict
        ``dxa_patients``, of them ``matched``; ``ct_without_dxa`` and ``dxa_without_ct``, patients;
        ``near_misses``, how many of the latter two have one.
    """
    patients = len(set(dxa) - {""})
    without = {side: sum(one.side == side for one in lone) for side in SIDES}
    return {
        "dxa_patients": patients,
        "matched": patients - without["dxa"],
        "ct_without_dxa": without["ct"],
        "dxa_without_ct": without["dxa"],
        "near_misses": sum(bool(one.near) for one in lone),
    }


def write_id_match(lone: Sequence[Lone], path: Path) -> None:
    """Write one row for each ID and near miss, for the hospital's eyes alone (mode 600)."""
    rows = [
        (one.side, one.patient_id, other, how)
        for one in lone
        for other, how in one.near or (("", ""),)
    ]
    with whole(path) as temporary:
        temporary.touch(mode=0o600)  # before there is anything to read
        pd.DataFrame(rows, columns=list(_COLUMNS)).to_csv(temporary, index=False)


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

    def near(self, name: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for how, form, groups in self.forms:
            for other in groups.get(form(name), ()):
                found.setdefault(other, how)
        for other in _swaps(name):
            if other in self.names:
                found.setdefault(other, "a swapped digit")
        return tuple(sorted(found.items()))
