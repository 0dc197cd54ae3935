"""What to search for: patterns made from the identifying values.

A value is searched as a phrase of words (letters and digits) between word boundaries, in any case
and with any separators, so that ``Long^Anna`` matches "LONG, Anna". A value is left out only for
one of the reasons of `Skip`, and each is counted.
"""

import ast
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_description, keyword_dict

from dsnet.dicom.dates import dates

WORD = re.compile(r"[^\W_]+")

SHORTEST = 4
"""Characters of the shortest value that is searched for."""

WHOLE_DIGITS, TYPED_DIGITS = 6, 8
"""A number of fewer digits than the first counts only where it is a whole value (a cell, a string,
a DICOM value, a file name); of fewer than the second, not where a number is a measurement: in a
numeric column, a JSON number or raw bytes."""

_LONGEST_PHRASE = 12
_SHORTEST_UID = 16
_PLACEHOLDERS = frozenset({"0001-01-01", "1900-01-01", "1970-01-01"})
_DECIMAL = re.compile(r"[-+]?\d*[.,]\d+(?:e[-+]?\d+)?")
_FREE = re.compile(r"Description$|Comments$|^ProtocolName$|^private element$|^annotation$|^path$")
"""Kinds of free text, in which scanners and tools write what identifies no one: ``clinical.csv``
is a path."""

_TEMPLATES = {".html", ".j2", ".js", ".css", ".csv"}
_INVENTED = "phantom"
"""The package whose names stand for patients' names, and so are no vocabulary."""


class Skip(StrEnum):
    """Why a value is not searched for."""

    SHORT = "fewer than four letters and digits"
    VOCABULARY = "words of the program or of DICOM alone"
    SHARED = "free text that most patients share"
    MEASUREMENT = "a decimal number"
    PLACEHOLDER = "a date that stands for none"
    PUBLISHED = "a scanner setting that the index publishes"
    ALLOWED = "allowed in data/private/phi_allow.txt"


class IdentifyingValue(NamedTuple):
    """A row of `dsnet.schemas.IDENTIFYING`, with all its patients."""

    value: str
    kind: str
    form: str
    patients: frozenset[str]


@dataclass
class Patterns:
    """Everything to search for, by how it is searched.

    Attributes
    ----------
    words : dict of str to IdentifyingValue
        Single words, folded.
    phrases : dict of str to list
        Phrases by their longest word: the words, and the value that they come from.
    whole : dict of str to IdentifyingValue
        Numbers that count only as a whole value.
    uids : dict of str to IdentifyingValue
    days : dict of str to list of IdentifyingValue
        By YYYY-MM-DD.
    searched, skipped : Counter
        Values by kind, and by reason.
    """

    words: dict[str, IdentifyingValue] = field(default_factory=dict)
    phrases: dict[str, list[tuple[tuple[str, ...], IdentifyingValue]]] = field(default_factory=dict)
    whole: dict[str, IdentifyingValue] = field(default_factory=dict)
    uids: dict[str, IdentifyingValue] = field(default_factory=dict)
    days: dict[str, list[IdentifyingValue]] = field(default_factory=dict)
    searched: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def add_words(self, words: tuple[str, ...], value: IdentifyingValue) -> None:
        """Add a phrase; a phrase of one word, except a short number, as a word."""
        if all(word.isdigit() for word in words) and sum(map(len, words)) < WHOLE_DIGITS:
            self.whole.setdefault(" ".join(words), value)
        elif len(words) == 1:
            self.words.setdefault(words[0], value)
        else:
            entry = (words[:_LONGEST_PHRASE], value)
            entries = self.phrases.setdefault(max(entry[0], key=len), [])
            if all(phrase != entry[0] for phrase, _ in entries):
                entries.append(entry)


def fold(text: str) -> str:
    """Return `text` so that case and compatible spellings make no difference."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def make_patterns(
    values: Iterable[IdentifyingValue],
    *,
    vocabulary: Collection[str],
    published: Collection[str] = (),
    allowed: Collection[str] = (),
) -> Patterns:
    """Return what to search for.

    Parameters
    ----------
    values : iterable of IdentifyingValue
    vocabulary : collection of str
        Folded words that count only in a phrase with others, or, in free text, never.
    published : collection of str
        Folded values that an output holds by intent, such as kernels.
    allowed : collection of str
        Folded values that the user has reviewed and allows.
    """
    patterns, listed = Patterns(), list(values)
    patients = frozenset[str]().union(*(value.patients for value in listed)) - {""}
    for value in listed:
        reason = _skip(value, vocabulary, published, allowed, len(patients))
        if reason is not None:
            patterns.skipped[reason] += 1
            continue
        patterns.searched[value.kind] += 1
        _add(patterns, value, vocabulary)
    return patterns


def _skip(
    value: IdentifyingValue,
    vocabulary: Collection[str],
    published: Collection[str],
    allowed: Collection[str],
    patients: int,
) -> Skip | None:
    text = fold(value.value)
    words = WORD.findall(text)
    if text in allowed:
        return Skip.ALLOWED
    if value.form == "date":
        return Skip.PLACEHOLDER if value.value in _PLACEHOLDERS else None
    if sum(map(len, words)) < SHORTEST:
        return Skip.SHORT
    if value.form != "uid" and _DECIMAL.fullmatch(text):
        return Skip.MEASUREMENT
    if text in published:
        return Skip.PUBLISHED
    return _skip_words(value, words, vocabulary, patients)


def _skip_words(
    value: IdentifyingValue, words: Sequence[str], vocabulary: Collection[str], patients: int
) -> Skip | None:
    free = bool(_FREE.search(value.kind))
    if free or len(words) == 1:
        distinctive = [word for word in words if len(word) >= SHORTEST and word not in vocabulary]
        if not distinctive and not (len(words) == 1 and words[0].isdigit()):
            return Skip.VOCABULARY
    if free and patients >= 3 and 2 * len(value.patients) > patients:
        return Skip.SHARED
    return None


def _add(patterns: Patterns, value: IdentifyingValue, vocabulary: Collection[str]) -> None:
    text = fold(value.value)
    words = tuple(WORD.findall(text))
    if value.form == "date":
        patterns.days.setdefault(value.value, []).append(value)
    elif value.form == "uid" and len(value.value) >= _SHORTEST_UID:
        patterns.uids.setdefault(value.value, value)
    elif len(words) == 1 and len(text) == 8 and (days := dates(text)):
        for day in days:
            patterns.days.setdefault(day, []).append(value)
    else:
        patterns.add_words(words, value)
        # A table that stored it as a number has lost its leading zeros.
        if len(words) == 1 and text.isdigit() and len(text.lstrip("0")) >= WHOLE_DIGITS:
            patterns.add_words((text.lstrip("0"),), value)
        if value.form == "name":
            for phrase in _name_phrases(text, vocabulary):
                patterns.add_words(phrase, value)


def _name_phrases(text: str, vocabulary: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield family and given name in both orders, and each word of a PN value alone.

    A word of the vocabulary counts within a phrase only: a patient may be called Long.
    """
    for group in text.split("="):
        components = [tuple(WORD.findall(component)) for component in group.split("^")]
        family, given = (*components, (), ())[:2]
        for phrase in (family + given, given + family):
            if len(phrase) > 1 and sum(map(len, phrase)) >= SHORTEST:
                yield phrase
        for word in (word for component in components for word in component):
            if len(word) >= SHORTEST and word not in vocabulary:
                yield (word,)


@lru_cache(maxsize=1)
def program_words() -> frozenset[str]:
    """Return, in lower case, the words that stand in outputs because the program writes them.

    These are the names and string literals of its modules, the words of its templates, and DICOM's
    data dictionary. Comments and docstrings do not count: they hold examples.
    """
    package = Path(__file__).resolve().parents[1]
    texts = [dictionary_description(tag) for tag in keyword_dict.values()]
    for path in package.rglob("*"):
        if path.relative_to(package).parts[0] == _INVENTED:
            continue
        if path.suffix == ".py":
            texts += _literals(path.read_text(encoding="utf-8"))
        elif path.suffix in _TEMPLATES:
            texts.append(path.read_text(encoding="utf-8"))
    return frozenset(word for text in texts for word in WORD.findall(text.lower()))


def _literals(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
