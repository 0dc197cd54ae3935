"""The identifying values of a header, which the self-test later looks for in every output.

Identifying is what the table of the confidentiality profile lists (`dsnet.dicom.ps315`), in nested
sequences too, and beyond it private elements, overlays and curves. Values stay in the private
folder.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from dsnet.dicom.elements import Elements, Run, meaning, raw_value
from dsnet.dicom.header import CONVERSION_ERRORS
from dsnet.dicom.ps315 import attributes, is_graphic

Form = Literal["text", "name", "date", "uid"]
"""How a value is searched for; `dsnet.phi` derives its patterns from it."""

PRIVATE, GRAPHIC, DAMAGED = "private element", "overlay or curve", "damaged sequence"
"""Kinds of values that go by no keyword; the others go by their DICOM keyword."""

_FORMS: dict[str, Form] = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "AE", "UR"), "text"),
    **dict.fromkeys(("DA", "DT"), "date"),
    "PN": "name",
    "UI": "uid",
}
"""By VR. Times of day, codes, ages and numbers identify nobody by themselves."""

_TEXT_BYTES = re.compile(rb"[\t\n\r\x1b-\x7e\x80-\xff]+")
_RUN = re.compile(rb"[ -~]{4,}")
_STANDARD_UID = "1.2.840.10008."
_LONGEST = 1024
_LARGEST_BINARY = 4096
"""Bytes of a private element without a VR of text."""
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
"""The tag (FFFE,E000), little-endian and big-endian."""


_EMPTY = Dataset()
"""What stands for the dataset of an element that needs none to be converted."""

_cached: dict[tuple[object, ...], tuple["Value", ...]] = {}
"""What the bytes of an element hold: slices of a series share most of them, sequences above all."""
_MOST_CACHED, _MOST_RUNS = 2048, 256
_LARGEST_VALUE = 1 << 16
"""Bytes of an element that is searched or cached; larger ones are images, curves and sequences, of
which the sequences alone are searched."""


class Value(NamedTuple):
    """One identifying value.

    Attributes
    ----------
    kind : str
        DICOM keyword, `PRIVATE`, `GRAPHIC` or `DAMAGED`; for what no header holds, its
        source.
    form : str
        text, name, date (as YYYY-MM-DD) or uid.
    text : str
    """

    kind: str
    form: str
    text: str


def collect(dataset: Dataset | Elements) -> tuple[Value, ...]:
    """Return every identifying value of a header, each once.

    A value that cannot be converted is searched as bytes. Sequences may be nested to any depth.
    """
    both = (getattr(dataset, "file_meta", None) or Dataset(), dataset)
    parts = (
        _by_element(one) if isinstance(one, Elements) else _by_data_element(one) for one in both
    )
    return tuple(dict.fromkeys(chain.from_iterable(chain.from_iterable(parts))))


def value(kind: str, form: str, text: str) -> Value | None:
    """Return a value in its normal form, or None where there is nothing to look for."""
    text = text.strip(" \0\t\r\n").encode("utf-8", "backslashreplace").decode()[:_LONGEST]
    if form == "date":
        text = iso_date(text)
    if not text or (form == "uid" and text.startswith(_STANDARD_UID)):
        return None
    return Value(kind, form, text)


def iso_date(text: str) -> str:
    """Return the date that a DA or DT value or an ISO date begins with, as YYYY-MM-DD, or ""."""
    digits = re.sub(r"[.\-/]", "", text[:10])[:8]
    if len(digits) < 8 or not (digits.isascii() and digits.isdigit()):
        return ""
    year, month, day = digits[:4], digits[4:6], digits[6:]
    return f"{year}-{month}-{day}" if "01" <= month <= "12" and "01" <= day <= "31" else ""


def _by_element(elements: Elements) -> Iterator[tuple[Value, ...]]:
    implicit, character_set = elements.implicit, elements.character_set
    yield _of_runs(elements.runs)
    for tag in elements.alone:
        encoded = elements.encoded[tag]
        if isinstance(encoded, bytes):
            yield _of_bytes(tag, encoded, implicit, character_set)
        elif _matters(tag, None if implicit else str(encoded[4:6], "ascii")):  # a large sequence
            yield _of_bytes.__wrapped__(tag, bytes(encoded), implicit, character_set)


@lru_cache(_MOST_RUNS)
def _of_runs(runs: tuple[Run, ...]) -> tuple[Value, ...]:
    """Return the values of the elements of runs, each once."""
    of_elements = (
        _of_bytes(tag, encoded, run.implicit, run.character_set)
        for run in runs
        for tag, encoded in run.encoded.items()
    )
    return tuple(dict.fromkeys(chain.from_iterable(of_elements)))


@lru_cache(_MOST_CACHED)
def _of_bytes(tag: int, encoded: bytes, implicit: bool, character_set: bytes) -> tuple[Value, ...]:
    """Return the values of an element as it lies in the file."""
    if not _matters(tag, None if implicit else encoded[4:6].decode("ascii")):
        return ()
    raw = raw_value(encoded, implicit)
    if raw is not None and _is_plain(raw[1]):
        vr, content = raw
        element = RawDataElement(BaseTag(tag), vr, len(content), content, 0, implicit, True)
        if not _is_sequence(element):
            return tuple(_of_element(_EMPTY, element))
    one = meaning(encoded, implicit, character_set)
    return tuple(chain.from_iterable(_by_data_element(one)))


def _by_data_element(dataset: Dataset) -> Iterator[tuple[Value, ...]]:
    charset = _charset(dataset)
    for element in _elements(dataset):
        collect_from = _of_sequence if _is_sequence(element) else _of_element
        yield _once(dataset, element, charset, collect_from)


def _elements(dataset: Dataset) -> Iterator[Any]:
    """Yield the elements that may identify, as they were read: converting them may fail."""
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag, keep_deferred=True)
        if _matters(int(tag), element.VR) and (_is_short(element) or _is_sequence(element)):
            yield element


def _is_short(element: Any) -> bool:
    return not isinstance(element.value, bytes) or len(element.value) <= _LARGEST_VALUE


def _once(
    dataset: Dataset,
    element: Any,
    charset: str,
    collect_from: Callable[[Dataset, Any], Iterator[Value]],
) -> tuple[Value, ...]:
    """Return what `collect_from` yields, without doing it again for the same bytes."""
    raw = element.value
    if not (isinstance(element, RawDataElement) and isinstance(raw, bytes) and _is_short(element)):
        return tuple(collect_from(dataset, element))
    key = (element.tag, element.VR, raw, element.is_implicit_VR, charset)
    if key not in _cached:
        if len(_cached) >= _MOST_CACHED:
            _cached.clear()
        _cached[key] = tuple(collect_from(dataset, element))
    return _cached[key]


@lru_cache(maxsize=8192)
def _matters(number: int, vr: str | None) -> bool:
    """Return whether an element may identify, or hold items that do."""
    tag = BaseTag(number)
    sequence = vr == "SQ" or (vr in (None, "UN") and _dictionary_vr(number) == "SQ")
    return sequence or number in attributes() or tag.is_private or is_graphic(tag)


def _charset(dataset: Dataset) -> str:
    """Return what decides how text is decoded: an element's bytes alone do not determine it."""
    try:
        return str(dataset.get("SpecificCharacterSet", ""))
    except CONVERSION_ERRORS:
        return ""


def _of_sequence(dataset: Dataset, sequence: Any) -> Iterator[Value]:
    """Yield the values of a sequence and all within it, without recursion."""
    pending = [(dataset, sequence)]
    while pending:
        holder, element = pending.pop()
        items = _items(holder, element.tag)
        if items is None and isinstance(element.value, bytes):
            yield from _texts_in(element.value, DAMAGED)
        for item in items or ():
            charset = _charset(item)
            for one in _elements(item):
                if _is_sequence(one):
                    pending.append((item, one))
                else:
                    yield from _once(item, one, charset, _of_element)


def _of_element(dataset: Dataset, element: Any) -> Iterator[Value]:
    tag = element.tag
    listed = attributes().get(tag)
    if tag.is_private:
        if tag.element > 0xFF:  # below are the creators, which name the makers of software
            yield from _private(dataset, element)
    elif listed:
        vr, keyword = listed
        if vr in _FORMS:
            yield from _values(dataset, element, keyword, _FORMS[vr])
    elif is_graphic(tag) and _vr(element) in _FORMS:
        yield from _values(dataset, element, GRAPHIC, _FORMS[_vr(element)])


def _private(dataset: Dataset, element: Any) -> Iterator[Value]:
    vr = _vr(element)
    if vr in _FORMS:
        yield from _values(dataset, element, PRIVATE, _FORMS[vr])
    elif vr in ("UN", "OB") and isinstance(element.value, bytes):
        yield from _binary(element.value)


def _binary(content: bytes) -> Iterator[Value]:
    """Return the text of a private element that does not say that it is text."""
    content = content.rstrip(b" \0")
    if not 4 <= len(content) <= _LARGEST_BINARY:
        return
    if content.startswith(_ITEMS):
        yield from _texts_in(content, PRIVATE)
    elif _TEXT_BYTES.fullmatch(content):
        yield from _texts_in(content, PRIVATE, whole=True)


def _texts_in(content: bytes, kind: str, *, whole: bool = False) -> Iterator[Value]:
    """Return `content` as one text, or each run of letters in it."""
    for text in [content] if whole else _RUN.findall(content):
        one = value(kind, "text", text.decode("utf-8", "replace"))
        if one:
            yield one


def _values(dataset: Dataset, element: Any, kind: str, form: Form) -> Iterator[Value]:
    for text in _texts(dataset, element):
        one = value(kind, form, text)
        if one:
            yield one


def _texts(dataset: Dataset, element: Any) -> list[str]:
    raw: Any = element.value
    if isinstance(element, RawDataElement) and isinstance(raw, bytes) and _is_plain(raw):
        text: str = raw.decode("ascii")
        return text.split("\\")
    try:
        content = dataset[element.tag].value
    except CONVERSION_ERRORS:
        return [raw.decode("latin-1")] if isinstance(raw, bytes) else []
    many = content if isinstance(content, MultiValue | list) else [content]
    return ["" if one is None else str(one) for one in many]


def _is_plain(raw: bytes) -> bool:
    """Return whether text is the same in every character set; an escape would switch to another."""
    return raw.isascii() and b"\x1b" not in raw


def _is_sequence(element: Any) -> bool:
    return isinstance(element.value, Sequence) or _vr(element) == "SQ"


def _items(dataset: Dataset, tag: BaseTag) -> list[Dataset] | None:
    """Return the items of a sequence, None for one that is damaged."""
    raw = dataset.get_item(tag, keep_deferred=True).value
    # pydicom takes any eight bytes for an item.
    if isinstance(raw, bytes) and raw and not raw.startswith(_ITEMS):
        return None
    try:
        content = dataset[tag].value
    except CONVERSION_ERRORS:
        return None
    return list(content) if isinstance(content, Sequence) else None


def _vr(element: Any) -> str:
    vr = element.VR
    return vr if isinstance(vr, str) and vr != "UN" else _dictionary_vr(element.tag)


@lru_cache(maxsize=4096)
def _dictionary_vr(tag: int) -> str:
    """Return the VR that the standard gives a tag; UN for a private or an unknown one."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
