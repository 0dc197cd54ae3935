"""Printable runs among raw bytes, as the program ``strings`` finds them, but in UTF-16 as well."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SHORTEST = 6
"""Characters of a run: chance makes up shorter ones."""

_ASCII = np.zeros(256, bool)
_ASCII[0x20:0x7F] = True
_LATIN_PAIR = np.zeros(1 << 16, bool)
_LATIN_PAIR[0x20:0x7F] = True
_LATIN_PAIR[0xA0:0x100] = True


def printable(content: bytes) -> str:
    """Return every run of six and more printable characters, one a line.

    Runs are of ASCII, or of the Latin-1 range in UTF-16 of either byte order and alignment.
    """
    return "\n".join([*_ascii_runs(content), *_utf16_runs(content)])


def _ascii_runs(content: bytes) -> Iterator[str]:
    for start, end in _spans(_ASCII[np.frombuffer(content, np.uint8)]):
        yield content[start:end].decode("ascii")


def _utf16_runs(content: bytes) -> Iterator[str]:
    for offset in (0, 1):
        pairs = np.frombuffer(content, "<u2", (len(content) - offset) // 2, offset)
        for start, end in _spans(_LATIN_PAIR[pairs], shortest=SHORTEST - 1):
            first, last = offset + 2 * start, offset + 2 * end
            text = content[first:last:2].decode("latin-1")
            if len(text) >= SHORTEST:
                yield text
            # Big-endian text reads as little-endian from its second byte on, but for its last
            # character, after which no zero need follow.
            yield text + content[last : last + 1].decode("latin-1")


def _spans(mask: NDArray[np.bool_], shortest: int = SHORTEST) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) index of each long run of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= shortest
    yield from zip(starts[long].tolist(), ends[long].tolist(), strict=True)
