"""Finding needles in text, in typed numbers and in raw bytes.

The text is cut into words and the set of them compared with the needles' words, so that the time
hangs on the text alone; runs of words are looked at only where their longest word is there.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from dsnet.dicom.dates import dates
from dsnet.phi.needles import TYPED_DIGITS, WHOLE_DIGITS, WORD, Met, Needles, fold
from dsnet.phi.runs import SHORTEST as RAW_SHORTEST
from dsnet.phi.runs import printable

_NO_IDENTITY = re.compile(
    r"(?<![\w.])[-+]?\d*\.(?!0+(?![\w.]))\d+(?:e[-+]?\d+)?(?![\w.])|#[0-9a-f]{3,8}\b"
)
"""Decimal fractions, whole numbers written as such excepted, and colours."""

_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?!\d)")
_WIDE_WORD = re.compile("[0-9a-z\x80-\xff]{6,}")
_IDENTITY_NAME = re.compile(r"(^|[\W_])(id|pid|mrn|patient|accession)([\W_]|$)", re.I)


class Search:
    """Looks for needles.

    Parameters
    ----------
    needles : Needles
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles

    def text(
        self, text: str, *, patient: str = "", min_digits: int = WHOLE_DIGITS
    ) -> Iterator[Met]:
        """Yield what `text` holds.

        Parameters
        ----------
        text : str
        patient : str
            Key of the patient in whose de-identified file it stands, "" elsewhere. The dates in
            such a file are shifted, so that another patient's date is there by chance alone.
        min_digits : int
            Digits of a number that counts.
        """
        folded = fold(text)
        words = set(WORD.findall(_NO_IDENTITY.sub(" ", folded)))
        yield from self._words(words, min_digits)
        yield from self._phrases(words, folded)
        yield from self._uids_and_days(folded, patient)

    def values(self, values: Iterable[str], *, patient: str = "") -> Iterator[Met]:
        """Yield what a column of text values holds; a short number counts if it is a whole one."""
        texts = set(values)
        yield from self.text("\n".join(texts), patient=patient)
        whole = self._needles.whole
        for text in {" ".join(WORD.findall(fold(text))) for text in texts if len(text) < 64}:
            if text in whole:
                yield whole[text]

    def numbers(self, name: str, numbers: Iterable[int]) -> Iterator[Met]:
        """Yield what a column of whole numbers holds.

        Measurements may equal an ID by chance. A number counts if it is long, if the column's
        `name` says that it holds identities, or if half of at least three different numbers do.
        """
        texts = {str(number) for number in numbers}
        known = {
            text: met
            for text in texts
            if (met := self._needles.words.get(text) or self._needles.whole.get(text))
        }
        named = bool(_IDENTITY_NAME.search(name))
        mostly = len(known) >= 3 and 2 * len(known) >= len(texts)
        for text, met in known.items():
            if named or mostly or len(text) >= TYPED_DIGITS:
                yield met
        if self._needles.days:
            yield from self._uids_and_days(" ".join(t for t in texts if len(t) == 8), "")

    def raw(self, content: bytes, *, patient: str = "") -> Iterator[Met]:
        """Yield what bytes hold as UTF-8, Latin-1 or UTF-16, words of six bytes and more."""
        text = fold(printable(content))
        words = {word for word in WORD.findall(text) if len(word) >= RAW_SHORTEST}
        yield from self._words(words, TYPED_DIGITS)
        yield from self._phrases(words, text)
        yield from self._uids_and_days(text, patient)
        if self._wide:
            wide = set(_WIDE_WORD.findall(content.decode("latin-1").lower()))
            for word in self._wide.keys() & wide:
                yield self._wide[word]

    @cached_property
    def _wide(self) -> dict[str, Met]:
        """Words with letters beyond ASCII as their bytes look when read as Latin-1."""
        found = {}
        for met in self._needles.words.values():
            for word in WORD.findall(met.value) if not met.value.isascii() else ():
                for form in (word, word.lower(), word.upper(), word.capitalize()):
                    for encoding in ("utf-8", "latin-1"):
                        found[form.encode(encoding, "ignore").decode("latin-1").lower()] = met
        return {
            word: met
            for word, met in found.items()
            if not word.isascii() and len(word) >= RAW_SHORTEST
        }

    def _words(self, words: set[str], min_digits: int) -> Iterator[Met]:
        for word in self._needles.words.keys() & words:
            if len(word) >= min_digits or not word.isdigit():
                yield self._needles.words[word]

    def _phrases(self, words: set[str], folded: str) -> Iterator[Met]:
        for longest in self._needles.phrases.keys() & words:
            for run, met in self._needles.phrases[longest]:
                if words.issuperset(word for word in run if len(word) >= RAW_SHORTEST) and (
                    _run_pattern(run).search(folded)
                ):
                    yield met

    def _uids_and_days(self, folded: str, patient: str) -> Iterator[Met]:
        for uid in self._needles.uids.keys() & set(_UID.findall(folded)):
            yield self._needles.uids[uid]
        if self._needles.days:
            for day in self._needles.days.keys() & dates(folded):
                for met in self._needles.days[day]:
                    if not patient or patient in met.patients:
                        yield met


def _run_pattern(run: Sequence[str]) -> re.Pattern[str]:
    """Return the pattern of words with one to three separators between them."""
    between = r"(?:[^\w\n]|_){1,3}"
    return re.compile(rf"(?<![^\W_]){between.join(map(re.escape, run))}(?![^\W_])")
