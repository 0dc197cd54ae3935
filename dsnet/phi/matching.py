"""Matching the patterns against text, columns of values, numbers, raw bytes and arrays.

The text is split into words, and their set is compared with the patterns' words, so that the time
depends on the text alone; a phrase is searched only where its longest word occurs. Bytes are
compared with the patterns of other encodings by tables of their first four bytes.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dsnet.dicom.dates import dates, possible_dates
from dsnet.phi.patterns import (
    CJK,
    CJK_RUN,
    GLUED,
    TYPED_DIGITS,
    WHOLE_DIGITS,
    WORD,
    Match,
    Patterns,
    cjk_runs,
    fold,
)
from dsnet.phi.text_formats import RAW_SHORTEST, ascii_strings

_NOT_IDENTIFYING = re.compile(
    r"(?<![\w.])[-+]?\d*\.(?!0+(?![\w.]))\d+(?:e[-+]?\d+)?(?![\w.])|#[0-9a-f]{3,8}\b"
)
"""Decimal fractions, except whole numbers written as such, and colours."""

_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?!\d)")
_ID_COLUMN = re.compile(r"(^|[\W_])(id|pid|mrn|patient|accession)([\W_]|$)", re.I)
_DATE_COLUMN = re.compile(r"date|birth|dob|day|time", re.I)
_DIGEST = re.compile(r"(?<![^\W_])(?=[0-9a-f]*\d)[0-9a-f]{16,}(?![^\W_])")
_TIME_OF_LOG = re.compile(r"T\d{6}\.\d{6}(?=\.snakemake\.log\Z)")
"""In names that Snakemake gives: one of a hundred runs would hit an ID of six digits by chance."""

_EIGHT_DIGITS = re.compile(r"(?<!\d)\d{8}(?!\d)")
_LONGEST_WHOLE = 64
_FIELD = re.compile(r"[^\t\r\n,;:=|<>\"'()\[\]{}]+")
"""A field of a log, a table or a markup, as punctuation separates them."""

_RAW_WORD, _CERTAIN_PHRASE = 4, 8
"""Letters of a word that is a suspect among raw bytes, and of a phrase that is none."""

_UNICODE = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LATIN_ENCODINGS = (*_UNICODE, "cp1252", "cp1250", "cp1254")
_OTHER_ENCODINGS = (*_UNICODE, "cp1251", "koi8-r", "iso8859-5", "cp1253")
_CJK_ENCODINGS = (*_UNICODE, "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr")
_SHORTEST_BYTES, _CERTAIN_BYTES = 4, 6
"""Bytes of the shortest pattern among raw bytes, and of the shortest that chance does not make."""

_SHORTEST_UNITS, _CERTAIN_UNITS = 8, 10
"""The same for the letters that an array of integers may spell: values of soft tissue in HU are
those of letters, so that a store of a million slices spells names of six letters by chance."""

_YEAR_MARKS = {
    mark.encode(encoding): encoding
    for mark, encodings in (("年", _CJK_ENCODINGS), ("년", (*_CJK_ENCODINGS[:5], "euc_kr")))
    for encoding in encodings
}
"""The bytes of the word for year that follows the number of a year."""

Pattern = TypeVar("Pattern")


class Matcher:
    """Matches patterns.

    Parameters
    ----------
    patterns : Patterns
    """

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = patterns

    def text(
        self, text: str, *, patient: str = "", min_digits: int = WHOLE_DIGITS
    ) -> Iterator[Match]:
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
        for run in cjk_runs(folded):
            for start in range(len(run) - 1):
                for cjk, match in self._cjk.get(run[start : start + 2], ()):
                    if run.startswith(cjk, start):
                        yield match
        for field in {
            field.strip() for field in _FIELD.findall(folded)
        } & self.patterns.fields.keys():
            yield self.patterns.fields[field]

    def values(self, values: Iterable[str], *, patient: str = "") -> Iterator[Match]:
        """Yield what a column of text values contains; short names and numbers as whole values."""
        texts = set(values)
        yield from self.text("\n".join(texts), patient=patient)
        whole = self.patterns.whole
        short = (text for text in texts if len(text) < _LONGEST_WHOLE)
        for text in {" ".join(WORD.findall(fold(text))) for text in short}:
            if text in whole:
                yield whole[text]

    def path(self, relative: str, *hidden: str) -> Iterator[Match]:
        """Yield what a path contains, also where it is glued to other letters.

        Parameters
        ----------
        relative : str
        hidden : str
            Texts that the path encodes.
        """
        relative, *encoded = (_TIME_OF_LOG.sub("", each) for each in (relative, *hidden))
        names = relative.split("/")
        yield from self.values([*names, *(name.partition(".")[0] for name in names), *encoded])
        folded = _DIGEST.sub(" ", fold(relative))
        for start in range(len(folded) - GLUED + 1):
            for pattern, match in self._glued.get(folded[start : start + GLUED], ()):
                end = start + len(pattern)
                if folded.startswith(pattern, start) and not (
                    pattern.isdigit()
                    and (folded[end : end + 1].isdigit() or folded[start - 1 : start].isdigit())
                ):
                    yield match
        for digits in _EIGHT_DIGITS.findall(folded):
            yield from self._uids_and_days(digits, "")

    def numbers(self, name: str, numbers: Iterable[int]) -> Iterator[Match]:
        """Yield what a column of whole numbers contains.

        Measurements may equal an ID by chance. A number is a hit if it is long, if the column's
        `name` says that it holds identities, or if half of at least three different numbers do;
        else it is a suspect.
        """
        texts = {str(number) for number in numbers}
        equal = {
            text: match
            for text in texts
            if (match := self.patterns.words.get(text) or self.patterns.whole.get(text))
        }
        named = bool(_ID_COLUMN.search(name))
        mostly = len(equal) >= 3 and 2 * len(equal) >= len(texts)
        for text, match in equal.items():
            if named or mostly or len(text) >= TYPED_DIGITS:
                yield match
            elif len(text) >= WHOLE_DIGITS:
                yield match._replace(suspect=True)
        if self.patterns.days:
            first = ("19", "20") if not _DATE_COLUMN.search(name) else ("",)
            days = (text.zfill(8) for text in texts if 7 <= len(text) <= 8)
            yield from self._uids_and_days(" ".join(t for t in days if t.startswith(first)), "")

    def strings(self, text: str, *, patient: str = "") -> Iterator[Match]:
        """Yield what the printable strings of raw bytes contain, short words as suspects."""
        folded = fold(text)
        words = set(WORD.findall(folded))
        short = {word for word in words if len(word) < RAW_SHORTEST}
        yield from self._words(words - short, TYPED_DIGITS)
        for match in self._words({word for word in short if len(word) >= _RAW_WORD}, TYPED_DIGITS):
            yield match._replace(suspect=True)
        yield from self._phrases(words, folded, certain=_CERTAIN_PHRASE)
        yield from self._uids_and_days(folded, patient, certain_only=True)

    def encoded(self, content: bytes) -> Iterator[Match]:
        """Yield the words beyond ASCII that bytes contain in any encoding, and 1944年7月15日."""
        yield from self._encoded.matches(content)
        for mark, encoding in _YEAR_MARKS.items() if self.patterns.days else ():
            at = content.find(mark)
            while at >= 0:
                # As many bytes before it as four digits take, and after it as the rest does.
                window = content[max(0, at - 4 * len(mark)) : at + 16 * len(mark)]
                yield from self._uids_and_days(fold(window.decode(encoding, "ignore")), "")
                at = content.find(mark, at + 1)

    def integers(self, array: NDArray[np.integer]) -> Iterator[Match]:
        """Yield what an array of integers of at least two bytes spells.

        These are numbers that equal an ID, long words in UTF-16 and UTF-32 and, where the values
        allow it, text in ASCII. Values of soft tissue in HU are those of letters, so that shorter
        words would be chance.
        """
        yield from self._code_units.matches(array.tobytes())
        if array.dtype.itemsize >= 4:
            same = np.isin(array, self._numbers)
            yield from self.numbers("", np.unique(array[same]).tolist())
        units = array.view(f"u{array.dtype.itemsize}")
        if array.dtype.itemsize > 2 or bool(np.any((units >= 0x2020) & (units <= 0x7E7E))):
            yield from self.strings("\n".join(ascii_strings(array.tobytes())))

    @cached_property
    def _glued(self) -> dict[str, list[tuple[str, Match]]]:
        return _indexed(lambda word: word[:GLUED], self.patterns.words)

    @cached_property
    def _cjk(self) -> dict[str, list[tuple[str, Match]]]:
        return _indexed(lambda text: text[:2], self.patterns.cjk)

    @cached_property
    def _phrases_by_longest(self) -> dict[str, list[tuple[tuple[str, ...], Match]]]:
        return _indexed(lambda words: max(words, key=len), self.patterns.phrases)

    @cached_property
    def _encoded(self) -> "ByteIndex":
        return ByteIndex(encoded_words(self.patterns))

    @cached_property
    def _code_units(self) -> "ByteIndex":
        return ByteIndex(code_units(self.patterns), step=2)

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        words = (word for word in self.patterns.words if word.isdigit() and len(word) < 19)
        return np.array(sorted(map(int, words)), np.int64)

    def _words(self, words: set[str], min_digits: int) -> Iterator[Match]:
        for word in self.patterns.words.keys() & words:
            if len(word) >= min_digits or not word.isdigit():
                yield self.patterns.words[word]

    def _phrases(self, words: set[str], folded: str, certain: int = 0) -> Iterator[Match]:
        """Yield phrases; those of fewer letters than `certain` as suspects."""
        for longest in self._phrases_by_longest.keys() & words:
            for phrase, match in self._phrases_by_longest[longest]:
                if words.issuperset(word for word in phrase if len(word) >= RAW_SHORTEST) and (
                    _phrase_regex(phrase).search(folded)
                ):
                    short = sum(map(len, phrase)) < certain
                    yield match._replace(suspect=match.suspect or short)

    def _uids_and_days(
        self, folded: str, patient: str, *, certain_only: bool = False
    ) -> Iterator[Match]:
        for uid in self.patterns.uids.keys() & set(_UID.findall(folded)):
            yield self.patterns.uids[uid]
        days = self.patterns.days
        if not days:
            return
        certain = days.keys() & dates(folded)
        possible = set() if certain_only else days.keys() & possible_dates(folded)
        for day in certain | possible:
            for match in days[day]:
                if not patient or patient in match.value.patients:
                    yield match._replace(suspect=match.suspect or day not in certain)


def _indexed(
    key: Callable[[Pattern], str], patterns: Mapping[Pattern, Match]
) -> dict[str, list[tuple[Pattern, Match]]]:
    """Return patterns and their matches by the text that is looked for first."""
    index = defaultdict(list)
    for pattern, match in patterns.items():
        index[key(pattern)].append((pattern, match))
    return dict(index)


@lru_cache(maxsize=4096)
def _phrase_regex(phrase: Sequence[str]) -> re.Pattern[str]:
    """Return the expression for words with one to three separators between them."""
    between = r"(?:[^\w\n]|_){1,3}"
    return re.compile(rf"(?<![^\W_]){between.join(map(re.escape, phrase))}(?![^\W_])")


class ByteIndex:
    """Finds many patterns of at least four bytes at once.

    Parameters
    ----------
    patterns : mapping of bytes to Match
    step : {1, 2}
        2 where patterns begin at even offsets alone, as in an array of 16-bit integers, of which
        those beside a word may look like letters.
    """

    def __init__(self, patterns: Mapping[bytes, Match], *, step: int = 1) -> None:
        self._step = step
        # With each pattern, whether it is a word that ends at letters and digits.
        self._by_start: dict[int, list[tuple[bytes, bool, Match]]] = defaultdict(list)
        for pattern, match in patterns.items():
            is_word = step == 1 and not any(True for _ in cjk_runs(match.value.value))
            start = int.from_bytes(pattern[:4], "little")
            self._by_start[start].append((pattern, is_word, match))
        self._starts = np.array(sorted(self._by_start), np.uint32)
        # Whether any pattern has a pair of bytes at that position, for each pair.
        shortest = min(map(len, patterns), default=4)
        self._tables = np.zeros((min(shortest // 2, 4), 1 << 16), bool)
        for position, table in enumerate(self._tables):
            for pattern in patterns:
                table[int.from_bytes(pattern[2 * position : 2 * position + 2], "little")] = True

    def matches(self, content: bytes) -> Iterator[Match]:
        """Yield each pattern that occurs, once; a word not where it is glued to ASCII letters."""
        seen = set()
        for pattern, match in self._occurrences(content) if self._by_start else ():
            if pattern not in seen:
                seen.add(pattern)
                yield match

    def _occurrences(self, content: bytes) -> Iterator[tuple[bytes, Match]]:
        first, second, *others = self._tables
        for offset in range(0, min(2, len(content)), self._step):
            pairs = np.frombuffer(content, "<u2", (len(content) - offset) // 2, offset)
            likely = np.flatnonzero(first[pairs[:-1]] & second[pairs[1:]])
            for position, table in enumerate(others, start=2):
                likely = likely[likely < len(pairs) - position]
                likely = likely[table[pairs[likely + position]]]
            starts = pairs[likely] | pairs[likely + 1].astype(np.uint32) << 16
            for index in np.flatnonzero(np.isin(starts, self._starts)).tolist():
                begin = offset + 2 * int(likely[index])
                for pattern, is_word, match in self._by_start[int(starts[index])]:
                    end = begin + len(pattern)
                    around = content[max(0, begin - 1) : begin] + content[end : end + 1]
                    touches = any(chr(byte).isalnum() for byte in around if byte < 0x80)
                    if content.startswith(pattern, begin) and not (is_word and touches):
                        yield pattern, match


def encoded_words(source: Patterns) -> dict[bytes, Match]:
    """Return words beyond ASCII as the bytes that they are in several encodings.

    Those of names in Chinese, Japanese and Korean are joined by nothing, a space and ``^``.
    """
    patterns: dict[bytes, Match] = {}
    for match in source.words.values():
        for word in WORD.findall(match.value.value):
            if not word.isascii() and not CJK_RUN.search(word):
                latin = all(letter.isascii() or letter < "\u0250" for letter in word)
                encodings = _LATIN_ENCODINGS if latin else _OTHER_ENCODINGS
                for form in {word, word.lower(), word.upper(), word.capitalize()}:
                    _add_encoded(patterns, form, encodings, match)
    for text, match in source.cjk.items():
        for form in {text, *_separated(unicodedata.normalize("NFKC", match.value.value))}:
            _add_encoded(patterns, form, _CJK_ENCODINGS, match)
    return patterns


def code_units(source: Patterns) -> dict[bytes, Match]:
    """Return long words as the 16- and 32-bit integers that they are in Unicode."""
    patterns: dict[bytes, Match] = {}
    for match in source.words.values():
        for word in WORD.findall(match.value.value):
            if len(word) < _SHORTEST_UNITS or word.isdigit():
                continue
            long = match._replace(suspect=match.suspect or len(word) < _CERTAIN_UNITS)
            for form in {word, word.lower(), word.upper(), word.capitalize()}:
                for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
                    patterns.setdefault(form.encode(encoding, "ignore"), long)
    return patterns


def _separated(text: str) -> Iterator[str]:
    """Yield each ideographic group of a PN value with its separator, and with spaces."""
    for group in (group.strip(" ^") for group in text.split("=")):
        if re.fullmatch(f"[{CJK} ^]+", group):
            yield from (group, group.replace("^", " "))


def _add_encoded(
    patterns: dict[bytes, Match], text: str, encodings: Iterable[str], match: Match
) -> None:
    for encoding in encodings:
        try:
            content = text.encode(encoding)
        except UnicodeEncodeError:  # a character that this encoding lacks
            continue
        if len(content) >= _SHORTEST_BYTES:
            short = len(content) < _CERTAIN_BYTES or content.isalpha()
            suspect = match.suspect or short
            if content not in patterns or patterns[content].suspect:
                patterns[content] = match._replace(suspect=suspect)
