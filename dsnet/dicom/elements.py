"""The elements of a usual file, split without pydicom and converted by it only where they are new.

Slices of one series share nearly all elements of their headers byte by byte, and a header has a
hundred of them. Here each element is cut out of the file as bytes, and what the same bytes meant on
an earlier slice is looked up. Elements that two files had one after another, all of them alike, are
a run: the next file is compared with it as a whole.

Nothing unusual is decided here. `split` gives up a file where it meets anything that writers of
whole DICOM files do not write, and pydicom reads that file; what an element means, pydicom alone
says (`meaning`).
"""

import io
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, TypeVar

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

_PREFIX, _META_OFFSET = b"DICM", 132
_SYNTAXES = frozenset(AllTransferSyntaxes) - {DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}

_CHARACTER_SET, _PIXEL_DATA, _FLOAT_PIXELS = 0x00080005, 0x7FE00010, (0x7FE00008, 0x7FE00009)
_LAST_OF_META, _LAST = 0x0002FFFF, 0xFFFCFFFC
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"

_PIXEL_VRS = (b"OB", b"OW")
_UNDEFINED = 0xFFFFFFFF
"""A length that says: up to a delimiter."""
_START, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<L")
_HAS_LONG_LENGTH = {vr.encode(): vr in EXPLICIT_VR_LENGTH_32 for vr in STANDARD_VR}
"""By VR, whether 12 and not 8 bytes stand before its value in explicit VR (PS3.5 7.1.2)."""

_TRAILER = {False: b"\xfc\xff\xfc\xffOB" + bytes(6), True: b"\xfc\xff\xfc\xff" + bytes(4)}
"""An empty DataSetTrailingPadding (FFFC,FFFC), by whether it has no VR."""

_UID = re.compile(rb"[0-9.]{1,64}\0?")
_DECIMAL = rb" *[+-]?[0-9]{1,9}(\.[0-9]{0,12})? *"
_DECIMALS = re.compile(_DECIMAL + rb"(\\" + _DECIMAL + rb")*")
"""Of what these describe, Python and pydicom make the same; anything else is left to pydicom."""

_LARGE_BYTES = 1 << 16
_MOST_READ, _MOST_CONVERTED = 256, 1024
"""Elements of earlier files whose meaning is remembered, none of them large: more than the slices
of a series share, and few enough for the memory that nested sequences take once parsed."""

_ERRORS = (LookupError, NotImplementedError, OSError, RecursionError, TypeError, ValueError)
"""What pydicom raises for bytes that are no element."""


_MOST_CHANGED, _MOST_RUNS = 8, 64
"""Elements that change from one slice to the next, and runs; with more, learning begins again."""


class _UnusualError(Exception):
    """Raised for what pydicom must read."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Successive elements that several files share; only itself is equal to it.

    Attributes
    ----------
    content : bytes
        As they lie in the files.
    encoded : dict of int to bytes
        Each element by its tag.
    implicit : bool
    character_set : bytes
        SpecificCharacterSet (0008,0005) of those files, which decides what their text means.
    """

    content: bytes
    encoded: dict[int, bytes]
    implicit: bool
    character_set: bytes


class Elements:
    """The elements of a file, which readers of this package take in place of a pydicom Dataset.

    Parameters
    ----------
    encoded : dict of int to (bytes or memoryview)
        Elements by tag, in ascending order, as they lie in the file: with tag, VR and length.
        Those of more than 64 KB are views on the file's bytes.
    implicit : bool
        Whether they have no VR.
    file_meta : Elements, optional
    runs : tuple of Run
        Most of the elements.
    alone : sequence of int, optional
        Tags of those that are in no run.
    """

    def __init__(
        self,
        encoded: dict[int, bytes | memoryview],
        *,
        implicit: bool,
        file_meta: "Elements | None" = None,
        runs: tuple[Run, ...] = (),
        alone: Sequence[int] | None = None,
    ) -> None:
        self.encoded, self.implicit, self.file_meta = encoded, implicit, file_meta
        self.runs, self.alone = runs, tuple(encoded) if alone is None else alone
        self.character_set = bytes(encoded.get(_CHARACTER_SET, b""))

    def __contains__(self, keyword: str) -> bool:
        return _tag(keyword) in self.encoded

    def marks(self, tags: frozenset[int]) -> tuple[object, ...]:
        """Return what is equal for files in which the elements of these tags are equal.

        Large elements, and pixel data of any size, count by their tag alone.
        """
        own: list[object] = [self.implicit, self.runs]
        for tag in self.alone:
            if tag in tags:
                one = self.encoded[tag]
                own.append(one if isinstance(one, bytes) and tag != _PIXEL_DATA else tag)
        return (*own, None if self.file_meta is None else self.file_meta.marks(tags))

    def get(self, keyword: str) -> Any:
        """Return the value of an element, None where it is absent, as ``Dataset.get`` does.

        Decimal strings come as numbers that have lost how they were written.
        """
        encoded = self.encoded.get(_tag(keyword))
        if encoded is None:
            return None
        return _value(keyword, bytes(encoded), self.implicit, self.character_set)

    def get_item(self, keyword: str, *, keep_deferred: bool = True) -> Any:
        """Return an element before its conversion, as ``Dataset.get_item`` does."""
        one = meaning(bytes(self.encoded[_tag(keyword)]), self.implicit, self.character_set)
        return one.get_item(keyword, keep_deferred=keep_deferred)

    def pixel_bytes(self) -> memoryview | None:
        """Return the value of PixelData (7FE0,0010), None for encapsulated or unusual ones."""
        encoded = memoryview(self.encoded[_PIXEL_DATA])
        value = 8 if self.implicit else 12
        (length,) = _LENGTH.unpack_from(encoded, value - 4)
        if length == _UNDEFINED or not (self.implicit or encoded[4:6] in _PIXEL_VRS):
            return None
        return encoded[value:]

    def encapsulated(self) -> bytes | None:
        """Return the value of encapsulated PixelData (7FE0,0010), None for any other."""
        encoded = self.encoded[_PIXEL_DATA]
        if self.implicit or encoded[8:12] != _LENGTH.pack(_UNDEFINED):
            return None
        return bytes(encoded[12:-8])  # without VR and length, and the delimiter at the end

    def dataset(self, keywords: Iterable[str]) -> Dataset:
        """Return some of the elements as pydicom reads them, with the transfer syntax."""
        chosen = (self.encoded.get(_tag(keyword), b"") for keyword in sorted(keywords, key=_tag))
        dataset = read_dataset(io.BytesIO(b"".join(chosen)), self.implicit, True)
        if self.file_meta is not None:
            dataset.file_meta = FileMetaDataset(self.file_meta.dataset(["TransferSyntaxUID"]))
        return dataset


Result = TypeVar("Result")
_Reader = Callable[[Dataset | Elements], Result]


def remembered(*keywords: str) -> Callable[[_Reader[Result]], _Reader[Result]]:
    """Decorate a reader of a few elements: it is not called again for `Elements` that share them.

    Parameters
    ----------
    *keywords : str
        The elements that it looks at; pixel data, and more than 64 KB, it may not read.
    """

    def decorate(function: _Reader[Result]) -> _Reader[Result]:
        tags = frozenset((_CHARACTER_SET, *map(_tag, keywords)))
        results: dict[tuple[object, ...], Result] = {}

        @wraps(function)
        def wrapper(dataset: Dataset | Elements) -> Result:
            if not isinstance(dataset, Elements):
                return function(dataset)
            marks = dataset.marks(tags)
            if marks not in results:
                if len(results) >= _MOST_READ:
                    results.clear()
                results[marks] = function(dataset)
            return results[marks]

        return wrapper

    return decorate


def split(content: bytes) -> Elements | None:
    """Return the elements of a file, None where anything about it is unusual.

    Usual is a file with the prefix ``DICM``, a transfer syntax of the standard that is neither
    big-endian nor deflated, tags in ascending order, the VRs of the standard, and lengths that lead
    from one element to the next and to the last byte of the file.
    """
    if content[_META_OFFSET - len(_PREFIX) : _META_OFFSET] != _PREFIX:
        return None
    try:
        return _split(content)
    except (_UnusualError, struct.error, *_ERRORS):
        return None


def _split(content: bytes) -> Elements:
    known = _KNOWN_META
    known.begin()
    encoded, offset = _walk(content, _META_OFFSET, implicit=False, last=_LAST_OF_META, known=known)
    file_meta = Elements(encoded, implicit=False, runs=tuple(known.runs), alone=known.alone)
    syntax = file_meta.get("TransferSyntaxUID")
    if syntax not in _SYNTAXES:
        raise _UnusualError
    implicit = syntax == ImplicitVRLittleEndian
    known = _KNOWN[implicit]
    known.begin()
    encoded, offset = _walk(content, offset, implicit=implicit, known=known)
    is_whole = offset == len(content) and min(encoded) > _LAST_OF_META
    if not is_whole or not encoded.keys().isdisjoint(_FLOAT_PIXELS):
        raise _UnusualError
    elements = Elements(
        encoded, implicit=implicit, file_meta=file_meta, runs=tuple(known.runs), alone=known.alone
    )
    elements.get("SpecificCharacterSet")  # pydicom does not read a file if that has no meaning
    _KNOWN_META.learn(file_meta)
    known.learn(elements)
    return elements


class _Known:
    """The runs of earlier files: they decide how fast a file is split, and not into what.

    An element that has changed from one file to the next is in no run. Where many have changed,
    another series has begun, and learning begins again.

    Attributes
    ----------
    runs : list of Run
    alone : list of int
        Of the file that is being split, as for `Elements`.
    """

    def __init__(self) -> None:
        self._before: dict[int, bytes] = {}
        self._varying = {_CHARACTER_SET, _PIXEL_DATA}
        self._by_start: dict[bytes, Run] = {}
        self.begin()

    def begin(self) -> None:
        """Begin a file."""
        self.runs: list[Run] = []
        self.alone: list[int] = []

    def at(self, content: bytes, offset: int, tag: int, character_set: object) -> Run | None:
        """Return the run that lies at an offset, None where the element there stands alone."""
        run = self._by_start.get(content[offset : offset + _START.size])
        if (
            run is None
            or run.character_set != character_set
            or not content.startswith(run.content, offset)
        ):
            self.alone.append(tag)
            return None
        self.runs.append(run)
        return run

    def learn(self, elements: Elements) -> None:
        """Make runs of what stood alone in this whole file, and is as it was in the file before."""
        if self._varying.issuperset(elements.alone):  # as of most files
            return
        encoded, before = elements.encoded, self._before
        new = {tag: one for tag in elements.alone if isinstance(one := encoded[tag], bytes)}
        changed = {tag for tag, one in new.items() if before.get(tag, one) != one} - self._varying
        if len(changed) > _MOST_CHANGED or len(self._by_start) > _MOST_RUNS:
            self._before = {tag: one for tag, one in encoded.items() if isinstance(one, bytes)}
            self._varying, self._by_start = {_CHARACTER_SET, _PIXEL_DATA}, {}
            return
        self._varying |= changed
        alike: dict[int, bytes] = {}
        for tag in (*encoded, _LAST):
            if tag in new and tag in before and tag not in self._varying:
                alike[tag] = new[tag]
            elif alike:
                content = b"".join(alike.values())
                run = Run(content, alike, elements.implicit, elements.character_set)
                self._by_start[content[: _START.size]] = run
                alike = {}
        before.update(new)


_KNOWN_META = _Known()
_KNOWN = {implicit: _Known() for implicit in (False, True)}


def _walk(
    content: bytes,
    offset: int,
    *,
    implicit: bool,
    last: int = _LAST,
    known: _Known | None = None,
) -> tuple[dict[int, bytes | memoryview], int]:
    """Return the elements from an offset up to the tag `last`, and where they end."""
    found: dict[int, bytes | memoryview] = {}
    view, size, previous = memoryview(content), len(content), -1
    while offset < size:
        group, number, vr, length = _START.unpack_from(content, offset)
        tag = group << 16 | number
        if tag > last:
            break
        if tag <= previous:
            raise _UnusualError
        run = known and known.at(content, offset, tag, found.get(_CHARACTER_SET, b""))
        if run:
            found.update(run.encoded)
            previous, offset = next(reversed(run.encoded)), offset + len(run.content)
            continue
        value = offset + 8
        if implicit:
            (length,) = _LENGTH.unpack_from(content, offset + 4)
            if vr.isalpha() and vr.isupper():  # a length that pydicom takes for a VR
                raise _UnusualError
        elif _HAS_LONG_LENGTH[vr]:
            (length,) = _LENGTH.unpack_from(content, value)
            value += 4
        end = value + length if length != _UNDEFINED else _after_items(content, value, implicit)
        if end > size:
            raise _UnusualError
        found[tag] = view[offset:end] if end - offset > _LARGE_BYTES else content[offset:end]
        if length == _UNDEFINED and not (tag == _PIXEL_DATA and vr in _PIXEL_VRS and not implicit):
            _check_sequence(tag, vr, found, implicit)
        previous, offset = tag, end
    return found, offset


def _after_items(content: bytes, offset: int, implicit: bool) -> int:
    """Return where a sequence of undefined length ends."""
    while not content.startswith(_SEQUENCE_END, offset):
        (length,) = _LENGTH.unpack_from(content, offset + 4)
        if not content.startswith(_ITEM, offset):
            raise _UnusualError
        offset += 8
        if length == _UNDEFINED:
            _, offset = _walk(content, offset, implicit=implicit)
            if not content.startswith(_ITEM_END, offset):
                raise _UnusualError
            offset += 8
        else:
            offset += length
    return offset + 8


def _check_sequence(
    tag: int, vr: bytes, found: dict[int, bytes | memoryview], implicit: bool
) -> None:
    """Raise unless pydicom, too, takes an element of undefined length for a sequence.

    Also if it reads another number of bytes, as where lengths in the sequence lead out of it, and
    for a large one, as of many frames, which would be parsed twice.
    """
    vr_name = dictionary_VR(tag) if implicit else vr.decode()
    if vr_name != "SQ" or len(found[tag]) > _LARGE_BYTES:
        raise _UnusualError
    character_set = bytes(found.get(_CHARACTER_SET, b""))
    if _LAST not in meaning(bytes(found[tag]), implicit, character_set):
        raise _UnusualError


def meaning(encoded: bytes, implicit: bool, character_set: bytes) -> Dataset:
    """Return the dataset of one element as pydicom reads it, with one element before and after it.

    The first is SpecificCharacterSet (0008,0005), as it lies in the same dataset: it decides how
    text is decoded. The last is an empty trailer (FFFC,FFFC), which is missing in the result if the
    lengths in a sequence lead out of it.
    """
    is_large = len(encoded) > _LARGE_BYTES
    return (_read if is_large else _read_once)(encoded, implicit, character_set)


def raw_value(encoded: bytes, implicit: bool) -> tuple[str | None, bytes] | None:
    """Return VR and value of an element as bytes; None if it is blank or has no known length.

    pydicom's reader takes ten times as long, which counts for what differs from file to file.
    """
    has_long_length = implicit or _HAS_LONG_LENGTH[encoded[4:6]]
    start = 12 if has_long_length and not implicit else 8
    value = encoded[start:]
    if not value or (has_long_length and encoded[start - 4 : start] == _LENGTH.pack(_UNDEFINED)):
        return None
    return None if implicit else encoded[4:6].decode(), value


def _read(encoded: bytes, implicit: bool, character_set: bytes) -> Dataset:
    stream = io.BytesIO(character_set + encoded + _TRAILER[implicit])
    return read_dataset(stream, implicit, True)


_read_once = lru_cache(_MOST_READ)(_read)


@lru_cache(_MOST_CONVERTED)
def _value(keyword: str, encoded: bytes, implicit: bool, character_set: bytes) -> Any:
    if raw := raw_value(encoded, implicit):
        vr, content = raw
        vr = vr or dictionary_VR(_tag(keyword))
        if vr == "UI" and _UID.fullmatch(content):
            return content.rstrip(b"\0").decode()
        if vr == "DS" and _DECIMALS.fullmatch(content):
            return [float(one) for one in content.split(b"\\")]
    return meaning(encoded, implicit, character_set).get(keyword)


@lru_cache
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag
