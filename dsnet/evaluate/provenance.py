"""What numbers are made from: the cohort, its split, and the grid of its slices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.files import read_json, sha256
from dsnet.schemas import LEAKY, is_leaky


class Grid(TypedDict):
    """The in-plane grid of the slice store."""

    size_px: int
    pixel_mm: float


def read_provenance(digest: Path, split: Path) -> dict[str, Any]:
    """Return what every metrics file begins with.

    Parameters
    ----------
    digest : Path
        ``slices.json``, the digest of the slice store.
    split : Path
        `schemas.SPLIT`.

    Returns
    -------
    dict
        ``cohort`` (its name), ``synthetic``, ``leaky`` (whether the split is by image) and
        ``slices_sha256``, the SHA-256 of the digest: files with the same one belong together.

    Raises
    ------
    UserError
        If a file is missing or is not what it should be.
    """
    facts = _read(digest, cohort=str, synthetic=bool)
    leaky = is_leaky(schemas.read(schemas.SPLIT, split))
    return {**facts, "leaky": leaky, "slices_sha256": sha256(digest)}


def read_grid(digest: Path) -> Grid:
    """Return the grid on which the slices are stored.

    Raises
    ------
    UserError
        If the file is missing or is no such digest.
    """
    grid = _read(digest, size_px=int, pixel_mm=float)
    return Grid(size_px=grid["size_px"], pixel_mm=grid["pixel_mm"])


def data_note(provenance: Mapping[str, Any]) -> str:
    """Return the words that say what numbers were made from.

    Parameters
    ----------
    provenance : mapping
        What `read_provenance` returns, a metrics file, or anything else that names its cohort.

    Examples
    --------
    >>> data_note({"cohort": "phantom", "synthetic": True, "leaky": True})
    'phantom (synthetic, not patients), LEAKY (split by image)'
    """
    cohort = str(provenance["cohort"])
    note = f"{cohort} (synthetic, not patients)" if provenance["synthetic"] else cohort
    return f"{note}, {LEAKY} (split by image)" if provenance.get("leaky", False) else note


def _read(digest: Path, **wanted: type) -> dict[str, Any]:
    facts = read_json(digest, *wanted)
    try:
        return {name: convert(facts[name]) for name, convert in wanted.items()}
    except (ValueError, TypeError) as error:
        raise UserError(
            digest.name,
            expected=f"the digest of the slice store, with {', '.join(wanted)}",
            came="something else in it",
            remedy="run the workflow, which makes it first",
        ) from error
