"""What to look for: identifying values in the forms in which they may turn up.

A value is looked for as a run of words (letters and digits) between word boundaries, in any case
and with any separators, so that ``Long^Anna`` is found as "LONG, Anna". A value can only be left
out for one of the reasons of `Skip`, and each is counted.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dsnet.dicom.dates import dates

WORD = re.compile(r"[^\W_]+")

SHORTEST = 4
"""Characters of a value that is looked for."""

WHOLE_DIGITS, TYPED_DIGITS = 6, 8
"""A number of fewer digits than the first counts only where it is a whole value (a cell, a string,
a DICOM value, a file name); of fewer than the second, not where a number is a measurement: in a
numeric column, a JSON number or raw bytes."""

_LONGEST_PHRASE = 12
_SHORTEST_UID = 16
_PLACEHOLDERS = frozenset({"0001-01-01", "1900-01-01", "1970-01-01"})
_DECIMAL = re.compile(r"[-+]?\d*[.,]\d+(?:e[-+]?\d+)?")
_FREE = re.compile(r"Description$|Comments$|^ProtocolName$|^private element$|^annotation$|^path$")
"""Kinds of free text, in which scanners and tools write what identifies nobody: ``clinical.csv``
is a path."""


class Skip(StrEnum):
    """Why a value is not looked for."""

    SHORT = "fewer than four letters and digits"
    VOCABULARY = "words of the program or of DICOM alone"
    SHARED = "free text that most patients share"
    MEASUREMENT = "a decimal number"
    PLACEHOLDER = "a date that stands for none"
    PUBLISHED = "a scanner setting that the index publishes"
    ALLOWED = "allowed in data/private/phi_allow.txt"


class Met(NamedTuple):
    """A row of `dsnet.schemas.IDENTIFYING`, with all its patients."""

    value: str
    kind: str
    form: str
    patients: frozenset[str]


@dataclass
class Needles:
    """Everything to look for, by how it is looked for.

    Attributes
    ----------
    words : dict of str to Met
        Single words, folded.
    phrases : dict of str to list
        Runs of words by their longest word: the words, and whose they are.
    whole : dict of str to Met
        Numbers that count only as a whole value.
    uids : dict of str to Met
    days : dict of str to list of Met
        By YYYY-MM-DD.
    searched, skipped : Counter
        Values by kind, and by reason.
    """

    words: dict[str, Met] = field(default_factory=dict)
    phrases: dict[str, list[tuple[tuple[str, ...], Met]]] = field(default_factory=dict)
    whole: dict[str, Met] = field(default_factory=dict)
    uids: dict[str, Met] = field(default_factory=dict)
    days: dict[str, list[Met]] = field(default_factory=dict)
    searched: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def add_words(self, words: tuple[str, ...], met: Met) -> None:
        """Add a run of words; of one word, a short number excepted, only the word."""
        if all(word.isdigit() for word in words) and sum(map(len, words)) < WHOLE_DIGITS:
            self.whole.setdefault(" ".join(words), met)
        elif len(words) == 1:
            self.words.setdefault(words[0], met)
        else:
            entry = (words[:_LONGEST_PHRASE], met)
            entries = self.phrases.setdefault(max(entry[0], key=len), [])
            if all(known != entry[0] for known, _ in entries):
                entries.append(entry)


def fold(text: str) -> str:
    """Return `text` so that case and compatible spellings make no difference."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def make_needles(
    values: Iterable[Met],
    *,
    vocabulary: Collection[str],
    published: Collection[str] = (),
    allowed: Collection[str] = (),
) -> Needles:
    """Return what to look for.

    Parameters
    ----------
    values : iterable of Met
    vocabulary : collection of str
        Folded words that count only in a run with others, or, in free text, never.
    published : collection of str
        Folded values that an output holds by intent, such as kernels.
    allowed : collection of str
        Folded values that the user has looked at and allows.
    """
    needles, listed = Needles(), list(values)
    patients = frozenset[str]().union(*(met.patients for met in listed)) - {""}
    for met in listed:
        reason = _skip(met, vocabulary, published, allowed, len(patients))
        if reason is not None:
            needles.skipped[reason] += 1
            continue
        needles.searched[met.kind] += 1
        _add(needles, met, vocabulary)
    return needles


def _skip(
    met: Met,
    vocabulary: Collection[str],
    published: Collection[str],
    allowed: Collection[str],
    patients: int,
) -> Skip | None:
    text = fold(met.value)
    words = WORD.findall(text)
    if text in allowed:
        return Skip.ALLOWED
    if met.form == "date":
        return Skip.PLACEHOLDER if met.value in _PLACEHOLDERS else None
    if sum(map(len, words)) < SHORTEST:
        return Skip.SHORT
    if met.form != "uid" and _DECIMAL.fullmatch(text):
        return Skip.MEASUREMENT
    if text in published:
        return Skip.PUBLISHED
    return _skip_words(met, words, vocabulary, patients)


def _skip_words(
    met: Met, words: Sequence[str], vocabulary: Collection[str], patients: int
) -> Skip | None:
    free = bool(_FREE.search(met.kind))
    if free or len(words) == 1:
        telling = [word for word in words if len(word) >= SHORTEST and word not in vocabulary]
        if not telling and not (len(words) == 1 and words[0].isdigit()):
            return Skip.VOCABULARY
    if free and patients >= 3 and 2 * len(met.patients) > patients:
        return Skip.SHARED
    return None


def _add(needles: Needles, met: Met, vocabulary: Collection[str]) -> None:
    text = fold(met.value)
    words = tuple(WORD.findall(text))
    if met.form == "date":
        needles.days.setdefault(met.value, []).append(met)
    elif met.form == "uid" and len(met.value) >= _SHORTEST_UID:
        needles.uids.setdefault(met.value, met)
    elif len(words) == 1 and len(text) == 8 and (days := dates(text)):
        for day in days:
            needles.days.setdefault(day, []).append(met)
    else:
        needles.add_words(words, met)
        # A table that took the number for a number has lost its zeros.
        if len(words) == 1 and text.isdigit() and len(text.lstrip("0")) >= WHOLE_DIGITS:
            needles.add_words((text.lstrip("0"),), met)
        if met.form == "name":
            for run in _name_runs(text, vocabulary):
                needles.add_words(run, met)


def _name_runs(text: str, vocabulary: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Return the parts of a PN value: family and given name both ways, and each part alone.

    A part that is a word of the program counts in a run only: a patient may be called Long.
    """
    for group in text.split("="):
        parts = [tuple(WORD.findall(part)) for part in group.split("^")]
        family, given = (*parts, (), ())[:2]
        for run in (family + given, given + family):
            if len(run) > 1 and sum(map(len, run)) >= SHORTEST:
                yield run
        for word in (word for part in parts for word in part):
            if len(word) >= SHORTEST and word not in vocabulary:
                yield (word,)
