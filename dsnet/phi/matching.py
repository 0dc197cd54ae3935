"""Matching the patterns against text, columns of values, numbers and raw bytes.

The text is split into words, and their set is compared with the patterns' words, so that the time
depends on the text alone; a phrase is searched only where its longest word occurs.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dsnet.dicom.dates import dates
from dsnet.phi.patterns import TYPED_DIGITS, WHOLE_DIGITS, WORD, IdentifyingValue, Patterns, fold

_NOT_IDENTIFYING = re.compile(
    r"(?<![\w.])[-+]?\d*\.(?!0+(?![\w.]))\d+(?:e[-+]?\d+)?(?![\w.])|#[0-9a-f]{3,8}\b"
)
"""Decimal fractions, except whole numbers written as such, and colours."""

_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?!\d)")
_WIDE_WORD = re.compile("[0-9a-z\x80-\xff]{6,}")
_ID_COLUMN = re.compile(r"(^|[\W_])(id|pid|mrn|patient|accession)([\W_]|$)", re.I)

RAW_SHORTEST = 6
"""Characters of a printable string among raw bytes: shorter ones occur by chance."""

_ASCII = np.zeros(256, bool)
_ASCII[0x20:0x7F] = True
_LATIN_PAIR = np.zeros(1 << 16, bool)
_LATIN_PAIR[0x20:0x7F] = True
_LATIN_PAIR[0xA0:0x100] = True


class Matcher:
    """Matches patterns.

    Parameters
    ----------
    patterns : Patterns
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns

    def text(
        self, text: str, *, patient: str = "", min_digits: int = WHOLE_DIGITS
    ) -> Iterator[IdentifyingValue]:
        """Yield the values that `text` contains.

        Parameters
        ----------
        text : str
        patient : str
            Key of the patient to whom the de-identified file belongs, "" elsewhere. The dates in
            such a file are shifted, so that another patient's date occurs there only by chance.
        min_digits : int
            Digits of a number that counts.
        """
        folded = fold(text)
        words = set(WORD.findall(_NOT_IDENTIFYING.sub(" ", folded)))
        yield from self._words(words, min_digits)
        yield from self._phrases(words, folded)
        yield from self._uids_and_days(folded, patient)

    def values(self, values: Iterable[str], *, patient: str = "") -> Iterator[IdentifyingValue]:
        """Yield what a column of text values contains; a short number counts as a whole value."""
        texts = set(values)
        yield from self.text("\n".join(texts), patient=patient)
        whole = self._patterns.whole
        for text in {" ".join(WORD.findall(fold(text))) for text in texts if len(text) < 64}:
            if text in whole:
                yield whole[text]

    def numbers(self, name: str, numbers: Iterable[int]) -> Iterator[IdentifyingValue]:
        """Yield what a column of whole numbers contains.

        Measurements may equal an ID by chance. A number counts if it is long, if the column's
        `name` says that it holds identities, or if half of at least three different numbers do.
        """
        texts = {str(number) for number in numbers}
        equal = {
            text: value
            for text in texts
            if (value := self._patterns.words.get(text) or self._patterns.whole.get(text))
        }
        named = bool(_ID_COLUMN.search(name))
        mostly = len(equal) >= 3 and 2 * len(equal) >= len(texts)
        for text, value in equal.items():
            if named or mostly or len(text) >= TYPED_DIGITS:
                yield value
        if self._patterns.days:
            yield from self._uids_and_days(" ".join(t for t in texts if len(t) == 8), "")

    def raw(self, content: bytes, *, patient: str = "") -> Iterator[IdentifyingValue]:
        """Yield what bytes contain as UTF-8, Latin-1 or UTF-16, words of six bytes and more."""
        text = fold(printable_strings(content))
        words = {word for word in WORD.findall(text) if len(word) >= RAW_SHORTEST}
        yield from self._words(words, TYPED_DIGITS)
        yield from self._phrases(words, text)
        yield from self._uids_and_days(text, patient)
        if self._wide:
            wide = set(_WIDE_WORD.findall(content.decode("latin-1").lower()))
            for word in self._wide.keys() & wide:
                yield self._wide[word]

    @cached_property
    def _wide(self) -> dict[str, IdentifyingValue]:
        """Words with letters beyond ASCII, as their bytes read in Latin-1."""
        words = {}
        for value in self._patterns.words.values():
            for word in WORD.findall(value.value) if not value.value.isascii() else ():
                for form in (word, word.lower(), word.upper(), word.capitalize()):
                    for encoding in ("utf-8", "latin-1"):
                        words[form.encode(encoding, "ignore").decode("latin-1").lower()] = value
        return {
            word: value
            for word, value in words.items()
            if not word.isascii() and len(word) >= RAW_SHORTEST
        }

    def _words(self, words: set[str], min_digits: int) -> Iterator[IdentifyingValue]:
        for word in self._patterns.words.keys() & words:
            if len(word) >= min_digits or not word.isdigit():
                yield self._patterns.words[word]

    def _phrases(self, words: set[str], folded: str) -> Iterator[IdentifyingValue]:
        for longest in self._patterns.phrases.keys() & words:
            for phrase, value in self._patterns.phrases[longest]:
                if words.issuperset(word for word in phrase if len(word) >= RAW_SHORTEST) and (
                    _phrase_regex(phrase).search(folded)
                ):
                    yield value

    def _uids_and_days(self, folded: str, patient: str) -> Iterator[IdentifyingValue]:
        for uid in self._patterns.uids.keys() & set(_UID.findall(folded)):
            yield self._patterns.uids[uid]
        if self._patterns.days:
            for day in self._patterns.days.keys() & dates(folded):
                for value in self._patterns.days[day]:
                    if not patient or patient in value.patients:
                        yield value


def _phrase_regex(phrase: Sequence[str]) -> re.Pattern[str]:
    """Return the expression for words with one to three separators between them."""
    between = r"(?:[^\w\n]|_){1,3}"
    return re.compile(rf"(?<![^\W_]){between.join(map(re.escape, phrase))}(?![^\W_])")


def printable_strings(content: bytes) -> str:
    """Return every sequence of six and more printable characters, one a line.

    As the program ``strings`` does, but in UTF-16 as well: sequences are of ASCII, or of the
    Latin-1 range in UTF-16 of either byte order and alignment.
    """
    return "\n".join([*_ascii_strings(content), *_utf16_strings(content)])


def _ascii_strings(content: bytes) -> Iterator[str]:
    for start, end in _spans(_ASCII[np.frombuffer(content, np.uint8)]):
        yield content[start:end].decode("ascii")


def _utf16_strings(content: bytes) -> Iterator[str]:
    for offset in (0, 1):
        pairs = np.frombuffer(content, "<u2", (len(content) - offset) // 2, offset)
        for start, end in _spans(_LATIN_PAIR[pairs], shortest=RAW_SHORTEST - 1):
            first, last = offset + 2 * start, offset + 2 * end
            text = content[first:last:2].decode("latin-1")
            if len(text) >= RAW_SHORTEST:
                yield text
            # Big-endian text reads as little-endian from its second byte on, except for its
            # last character, which need not be followed by a zero.
            yield text + content[last : last + 1].decode("latin-1")


def _spans(mask: NDArray[np.bool_], shortest: int = RAW_SHORTEST) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) index of each long sequence of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= shortest
    yield from zip(starts[long].tolist(), ends[long].tolist(), strict=True)
