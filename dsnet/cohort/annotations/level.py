"""The level that a name means, however a tool spells it."""

import re
from collections.abc import Mapping
from typing import Final

LEVEL_NAMES: Final = frozenset(
    [f"C{n}" for n in range(1, 8)]
    + [f"T{n}" for n in range(1, 13)]
    + [f"L{n}" for n in range(1, 7)]
    + [f"S{n}" for n in range(1, 6)]
)
"""Levels that an annotation may name; of these, DXA measures L1 to L4."""

IGNORE: Final = "ignore"
"""What ``annotations.level_names`` says of a name that is meant to be left out."""

VERSE: Final = {
    **{7 + n: f"T{n}" for n in range(1, 13)},
    **{19 + n: f"L{n}" for n in range(1, 7)},
}
"""Thoracic and lumbar numbers of VerSe (Sekuboyina et al. 2021, doi 10.1016/j.media.2021.102166),
which TPTBox took over."""

_REGIONS: Final = {
    **dict.fromkeys(("l", "lumbar"), "L"),
    **dict.fromkeys(("t", "th", "d", "thoracic", "dorsal"), "T"),
    **dict.fromkeys(("s", "sacral"), "S"),
    **dict.fromkeys(("c", "cervical"), "C"),
}
_NUMBER_WORDS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
_ORDINALS: Final = {word: number for number, word in enumerate(_NUMBER_WORDS.split(), start=1)}
_FILLER_WORDS: Final = (
    "vertebra vertebrae vertebral body bodies corpus level spine bone mask seg segmentation of the"
)
_FILLERS: Final = frozenset(_FILLER_WORDS.split())
_WORD: Final = re.compile(r"[a-z]+|\d+")
_ORDINAL_END: Final = re.compile(r"(?<=\d)(st|nd|rd|th)\b")


def level_of(name: str, names: Mapping[str, str]) -> str:
    """Return the level that `name` means, `IGNORE`, or "" if it is none that is known.

    `names` comes first, without regard to case. Then the name may hold one region (``L``,
    ``lumbar``, ``T``, ``Th``, ``D``, ``thoracic``, ``S`` ...), one number (``1``, ``01``,
    ``first``) and words that say nothing (``vertebrae``, ``body`` ...), in any order and parted by
    anything. A number alone counts as in VerSe. Whatever else is in it makes it unknown: "L1
    pedicle" and "L1-L2" are no vertebral bodies.

    Parameters
    ----------
    name : str
    names : mapping of str to str
        The config key ``annotations.level_names``.

    Examples
    --------
    >>> [level_of(name, {}) for name in ("vertebrae_L1", "Lumbar 2 body", "Th12", "20", "L1-L2")]
    ['L1', 'L2', 'T12', 'L1', '']
    """
    plain = name.strip().casefold()
    told = {key.strip().casefold(): value for key, value in names.items()}.get(plain)
    if told is not None:
        return told
    words = [word for word in _WORD.findall(_ORDINAL_END.sub("", plain)) if word not in _FILLERS]
    regions = {_REGIONS[word] for word in words if word in _REGIONS}
    numbers = [word for word in words if word not in _REGIONS]
    if len(numbers) != 1 or len(regions) > 1:
        return ""
    number = int(numbers[0]) if numbers[0].isdigit() else _ORDINALS.get(numbers[0], 0)
    if not regions:
        return VERSE.get(number, "") if plain.isdigit() else ""
    level = f"{regions.pop()}{number}"
    return level if level in LEVEL_NAMES else ""
