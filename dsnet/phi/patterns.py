"""What to search for: patterns made from the identifying values.

A value is searched as a phrase of words (letters and digits) between word boundaries, in any case
and with any separators, so that ``Long^Anna`` matches "LONG, Anna"; names in Chinese, Japanese and
Korean letters, which are written without spaces, are searched anywhere in a text. A value is left
out only for one of the reasons of `Skip`, and each is counted. A match that may well be chance is a
suspect: it is counted and fails nothing.
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

_HAN = r"\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
CJK = rf"{_HAN}\u3041-\u30ff\uac00-\ud7af"
"""Chinese, Japanese and Korean letters, for a character class."""

CJK_RUN = re.compile(f"[{CJK}]{{2,}}")
_CJK_GAP = re.compile(rf"(?<=[{CJK}])[ \t^=·・_]{{1,2}}(?=[{CJK}])")

SHORTEST = 4
"""Characters of the shortest value that is searched for within text; a name of two or three Latin
letters is searched for as a whole cell, string, DICOM value or file name."""

WHOLE_DIGITS, TYPED_DIGITS = 6, 8
"""A number of fewer digits than the first counts only where it is a whole value (a cell, a string,
a DICOM value, a file name); of fewer than the second, not where a number is a measurement: in a
numeric column, a JSON number or raw bytes."""

GLUED = 6
"""Characters of the shortest value that is searched for within the words of a file name."""

_JOINED = range(6, 33)
"""Characters of a value that is searched for without its separators, too: ``O'Brien`` as obrien."""

_MOST_JOINED = 5
"""Words of such a value."""

_PREFIXED = re.compile(r"(?=[\W_]*[^\W\d_])\D+(\d.*)")
"""A number after letters that say what it is, such as ``MRN 00-1234``."""

_NUMBER_KINDS = re.compile(r"IDs?$|Numbers?$|^cohort table$")
_ADDRESS_KINDS = re.compile(r"Address$|Location$|Residence$")
_ADDRESS_PARTS = re.compile(r"[,;\\^=\n]")
_MAIL_NAME = re.compile(r"[\w.+-]+(?=@)")
_SHORTEST_PART = 8
"""Characters of a line of an address, or of the name in an e-mail address, that is searched for
alone."""

_UNSEEN = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)) | {0x130: "I"}
"""Marks of no width, such as soft hyphens; and the capital that folds to two characters."""

_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "\u0131": "i",
    }
)
_DIGRAPHS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})

_LONGEST_PHRASE = 12
_LONGEST_CJK = 32
_SHORTEST_UID = 16
_FREE_CJK = 4
"""Letters of the shortest free text that is searched for: two are ``腰椎``, the lumbar spine."""

_PLACEHOLDERS = frozenset({"0001-01-01", "1900-01-01", "1970-01-01"})
_DECIMAL = re.compile(r"[-+]?\d*[.,]\d+(?:e[-+]?\d+)?")
_FREE = re.compile(r"Description$|Comments$|^ProtocolName$|^private element$|^annotation$|^path$")
"""Kinds of free text, in which scanners and tools write what identifies no one: ``clinical.csv``
is a path."""

_RARE = 20
"""A single word of letters that de-identification removed is distinctive where at most one patient
in this many has it; words of devices and protocols are common to many."""


class Skip(StrEnum):
    """Why a value is not searched for."""

    SHORT = "fewer than four letters and digits, and no name of two or three letters"
    VOCABULARY = "words of the program or of DICOM alone"
    SHARED = "free text that most patients share"
    MEASUREMENT = "a decimal number"
    PLACEHOLDER = "a date that stands for none"
    PUBLISHED = "a scanner setting that the index publishes"
    ALLOWED = "allowed in data/private/phi_allow.txt"
    COMMON = "removed by de-identification, but not distinctive"


class IdentifyingValue(NamedTuple):
    """A row of `dsnet.schemas.IDENTIFYING`, with all its patients."""

    value: str
    kind: str
    form: str
    patients: frozenset[str]


class Match(NamedTuple):
    """A value in an output, and whether that may well be chance."""

    value: IdentifyingValue
    suspect: bool = False


class Vocabulary(NamedTuple):
    """What stands in outputs because the program writes it, folded.

    Attributes
    ----------
    words : collection of str
        All words of its texts.
    values : collection of str
        What it writes as a whole value: names of columns and keys, and constants.
    """

    words: Collection[str] = frozenset()
    values: Collection[str] = frozenset()


@dataclass
class Patterns:
    """Everything to search for, by how it is searched.

    Attributes
    ----------
    words : dict of str to Match
        Single words, folded.
    phrases : dict of tuple of str to Match
        By their words.
    whole, fields : dict of str to Match
        Words that count only as a whole value, such as short names and numbers; and names that
        count as a field of a text, which punctuation separates.
    cjk : dict of str to Match
        Strings of Chinese, Japanese or Korean letters.
    uids : dict of str to Match
    days : dict of str to list of Match
        By YYYY-MM-DD.
    searched, skipped : Counter
        Values by kind, and by reason.
    """

    words: dict[str, Match] = field(default_factory=dict)
    phrases: dict[tuple[str, ...], Match] = field(default_factory=dict)
    whole: dict[str, Match] = field(default_factory=dict)
    fields: dict[str, Match] = field(default_factory=dict)
    cjk: dict[str, Match] = field(default_factory=dict)
    uids: dict[str, Match] = field(default_factory=dict)
    days: dict[str, list[Match]] = field(default_factory=dict)
    searched: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def add_words(self, words: tuple[str, ...], match: Match) -> None:
        """Add a phrase; a phrase of one word, except a short number, as a word."""
        if all(word.isdigit() for word in words) and sum(map(len, words)) < WHOLE_DIGITS:
            _put(self.whole, " ".join(words), match)
        elif len(words) == 1:
            self.words.setdefault(words[0], match)
        else:
            self.phrases.setdefault(words[:_LONGEST_PHRASE], match)

    def add_joined(self, words: Sequence[str], match: Match, vocabulary: "Vocabulary") -> None:
        """Add a value of a few words as one word; a number only where it is long."""
        joined = "".join(words)
        long = len(joined) in _JOINED and not (joined.isdigit() and len(joined) < TYPED_DIGITS)
        if 1 < len(words) <= _MOST_JOINED and long and joined not in vocabulary.words:
            self.words.setdefault(joined, match)

    def add_cjk(self, text: str, match: Match) -> None:
        """Add a string of Chinese, Japanese or Korean letters; a hit replaces a suspect."""
        text = text[:_LONGEST_CJK]
        if text not in self.cjk or not match.suspect:
            self.cjk[text] = match


def _put(matches: dict[str, Match], text: str, match: Match) -> None:
    """Add a match; a hit replaces a suspect."""
    if text not in matches or matches[text].suspect:
        matches[text] = match


def fold(text: str) -> str:
    """Return `text` so that case and compatible spellings make no difference."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.translate(_UNSEEN)).casefold()


def without_marks(text: str) -> str:
    """Return `text` without diacritics: ``größlmüller`` becomes ``grosslmuller``."""
    letters = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def close_gaps(text: str) -> str:
    """Return `text` without separators between Chinese, Japanese or Korean letters."""
    return _CJK_GAP.sub("", text)


def cjk_runs(text: str) -> Iterator[str]:
    """Yield the sequences of Chinese, Japanese or Korean letters, separators left out."""
    if not text.isascii():
        yield from CJK_RUN.findall(close_gaps(text))


def make_patterns(
    values: Iterable[IdentifyingValue],
    *,
    dropped: Iterable[IdentifyingValue] = (),
    vocabulary: "Vocabulary",
    published: Collection[str] = (),
    allowed: Collection[str] = (),
) -> Patterns:
    """Return what to search for.

    Parameters
    ----------
    values : iterable of IdentifyingValue
    dropped : iterable of IdentifyingValue
        What de-identification removed: searched for only where it is distinctive, since most of it
        is settings of scanners.
    vocabulary : Vocabulary
        Words that count only in a phrase with others, or, in free text, never.
    published : collection of str
        Folded values that an output holds by intent, such as kernels.
    allowed : collection of str
        Folded values that the user has reviewed and allows.
    """
    patterns, listed = Patterns(), list(values)
    removed = list(dropped)
    patients = frozenset[str]().union(*(value.patients for value in listed + removed)) - {""}
    searched = {fold(value.value) for value in listed}
    removed = [value for value in removed if fold(value.value) not in searched]
    for number, value in enumerate([*listed, *removed]):
        reason = _skip(value, vocabulary.words, published, allowed, len(patients))
        if reason is None and number >= len(listed):
            common = not _is_distinctive(value, vocabulary.words, len(patients))
            reason = Skip.COMMON if common else None
        if reason is None:
            patterns.searched[value.kind] += 1
            _add(patterns, value, vocabulary)
        else:
            patterns.skipped[reason] += 1
    return patterns


def _is_distinctive(value: IdentifyingValue, vocabulary: Collection[str], patients: int) -> bool:
    """Return whether a removed value occurs in an output only if it leaked."""
    if patients >= 3 and 2 * len(value.patients) > patients:
        return False
    if value.form in ("date", "uid", "name"):
        return True
    words = WORD.findall(fold(value.value))
    new = [word for word in words if len(word) >= SHORTEST and word not in vocabulary]
    if len(words) == 1 and words[0].isalpha() and words[0].isascii():
        return bool(new) and len(value.patients) <= max(1, patients // _RARE)
    return any(len(word) >= WHOLE_DIGITS or not word.isdigit() for word in new)


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
    if sum(map(len, words)) < SHORTEST and not _is_short_name(value, words):
        return Skip.SHORT
    if value.form != "uid" and _DECIMAL.fullmatch(text):
        return Skip.MEASUREMENT
    if text in published:
        return Skip.PUBLISHED
    return _skip_words(value, words, vocabulary, patients)


def _is_short_name(value: IdentifyingValue, words: Sequence[str]) -> bool:
    """Return whether a value of two or three letters is searched for all the same."""
    if any(True for _ in cjk_runs(fold(value.value))):
        return not _FREE.search(value.kind)
    letters = "".join(words)
    return value.form == "name" and len(letters) >= 2 and letters.isalpha()


def _skip_words(
    value: IdentifyingValue, words: Sequence[str], vocabulary: Collection[str], patients: int
) -> Skip | None:
    free = bool(_FREE.search(value.kind))
    cjk = any(len(run) >= (_FREE_CJK if free else 2) for run in cjk_runs(fold(value.value)))
    name = value.form == "name"
    if (free or len(words) == 1) and not cjk and not name:
        distinctive = [word for word in words if len(word) >= SHORTEST and word not in vocabulary]
        if not distinctive and not (len(words) == 1 and words[0].isdigit()):
            return Skip.VOCABULARY
    if free and patients >= 3 and 2 * len(value.patients) > patients:
        return Skip.SHARED
    return None


def _add(patterns: Patterns, value: IdentifyingValue, vocabulary: Vocabulary) -> None:
    text, match = fold(value.value), Match(value)
    words = tuple(WORD.findall(text))
    if value.form == "date":
        patterns.days.setdefault(value.value, []).append(match)
    elif value.form == "uid" and len(value.value) >= _SHORTEST_UID:
        patterns.uids.setdefault(value.value, match)
    elif len(words) == 1 and len(text) == 8 and (days := dates(text)):
        for day in days:
            patterns.days.setdefault(day, []).append(match)
    elif value.form == "name":
        _add_name(patterns, match, text, vocabulary)
    else:
        _add_text(patterns, match, text, vocabulary)


def _add_text(patterns: Patterns, match: Match, text: str, vocabulary: Vocabulary) -> None:
    words = tuple(WORD.findall(text))
    shortest = _FREE_CJK if _FREE.search(match.value.kind) else 2
    runs = [run for run in cjk_runs(text) if len(run) >= shortest]
    for run in runs:
        patterns.add_cjk(run, match._replace(suspect=len(run) == 2))
    if sum(map(len, words)) < SHORTEST:
        return
    patterns.add_words(words, match)
    address = _ADDRESS_KINDS.search(match.value.kind)
    for line in _ADDRESS_PARTS.split(text) if address else _MAIL_NAME.findall(text):
        part = tuple(WORD.findall(line))
        if len(part) > 1 and sum(map(len, part)) >= _SHORTEST_PART:
            patterns.add_words(part, match)
    if len(words) == 1 or not _FREE.search(match.value.kind):
        _add_number(patterns, match, text, vocabulary)


def _add_number(patterns: Patterns, match: Match, text: str, vocabulary: Vocabulary) -> None:
    """Add an ID as one word, without what stands before its number, and without leading zeros."""
    prefixed = _PREFIXED.fullmatch(text) if _NUMBER_KINDS.search(match.value.kind) else None
    number = tuple(WORD.findall(prefixed[1])) if prefixed else ()
    if sum(map(len, number)) >= WHOLE_DIGITS:
        patterns.add_words(number, match)
    for words in (tuple(WORD.findall(text)), number):
        patterns.add_joined(words, match, vocabulary)
        digits = "".join(words)
        long = len(digits) >= (WHOLE_DIGITS if len(words) == 1 else TYPED_DIGITS)
        if digits.isdigit() and long and len(digits.lstrip("0")) >= WHOLE_DIGITS:
            patterns.add_words((digits.lstrip("0"),), match)


def _add_name(patterns: Patterns, match: Match, text: str, vocabulary: Vocabulary) -> None:
    """Add a PN value: family and given name in both orders, and each name alone.

    A word of the vocabulary counts in a phrase or as a whole value only: a patient may be called
    Long.
    """
    for group in text.split("="):
        names = [tuple(WORD.findall(component)) for component in group.split("^")]
        family, given = (*names, (), ())[:2]
        for phrase in (tuple(WORD.findall(group)), family + given, given + family):
            if len(phrase) > 1:
                _add_full_name(patterns, match, phrase)
        for phrase in (family, given, family + given, given + family, given[:1] + family):
            for spelling in _spelled(phrase):
                patterns.add_joined(spelling, match, vocabulary)
        for word in (word for name in names for word in name):
            _add_name_word(patterns, match, word, vocabulary)
        for name in (family, given):
            if len(name) == 1 and 2 <= len(name[0]) < SHORTEST:
                _add_short_name(patterns, match, name[0], vocabulary)
        _add_cjk_name(patterns, match, group)


def _add_full_name(patterns: Patterns, match: Match, phrase: tuple[str, ...]) -> None:
    for spelling in _spelled(phrase):
        if sum(map(len, spelling)) >= SHORTEST:
            patterns.add_words(spelling, match)
        else:
            _put(patterns.whole, " ".join(spelling), match)
            _put(patterns.fields, " ".join(spelling), match)


def _add_name_word(patterns: Patterns, match: Match, word: str, vocabulary: Vocabulary) -> None:
    for (spelling,) in _spelled((word,)):
        if len(spelling) >= SHORTEST and spelling not in vocabulary.words:
            patterns.add_words((spelling,), match)
        elif len(spelling) >= SHORTEST:
            _add_short_name(patterns, match, spelling, vocabulary)


def _add_short_name(patterns: Patterns, match: Match, name: str, vocabulary: Vocabulary) -> None:
    """Add a name as a whole value; one that the program itself writes is a suspect there."""
    _put(patterns.whole, name, match._replace(suspect=name in vocabulary.values))
    if name.isalpha():
        _put(patterns.fields, name, match._replace(suspect=name in vocabulary.words))


def _spelled(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield words as they are, without diacritics, and with ae, oe, ue and aa instead."""
    yield words
    if all(word.isascii() for word in words):
        return
    plain = tuple(without_marks(word) for word in words)
    digraphs = tuple(without_marks(word.translate(_DIGRAPHS)) for word in words)
    yield from {spelling for spelling in (plain, digraphs) if spelling != words and all(spelling)}


def _add_cjk_name(patterns: Patterns, match: Match, group: str) -> None:
    """Add a whole name of two and more letters; a family or given name of two is a suspect."""
    components = [close_gaps(part) for part in group.split("^")]
    whole = close_gaps(group)
    for run in cjk_runs(whole):
        patterns.add_cjk(run, match)
    family, given = (*components, "", "")[:2]
    if given and CJK_RUN.fullmatch(given + family):
        patterns.add_cjk(given + family, match)
    for part in components:
        if part != whole and CJK_RUN.fullmatch(part):
            patterns.add_cjk(part, match._replace(suspect=len(part) == 2))
