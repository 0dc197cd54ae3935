"""The ledger as the page carries it: columns of numbers, and each text once."""

import base64
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.report.stages import words
from dsnet.report.tables import Tables
from dsnet.report.thumbnail import Gallery

COLUMNS = ("patient_key", "series_key", "criterion", "evidence", "decided_by", "all_criteria")


def pack(tables: Tables, gallery: Gallery) -> dict[str, Any]:
    """Return everything that the page's script shows, ready for JSON.

    Returns
    -------
    dict
        ``rows``; ``file`` and ``image``, 8 bytes a row, zero where there is no image key;
        ``columns``, each with ``values`` and, for every row, the place of its own; ``patients``
        by key, ``criteria`` in order, ``thumbnails`` by row.
    """
    ledger = tables.ledger
    labelled = zip(tables.labels["image_key"], tables.labels["level"], strict=True)
    levels = _joined(labelled, " ")
    ledger = ledger.assign(level=[levels.get(key, "") for key in ledger["image_key"]])
    ledger.loc[ledger["status"] == "excluded", "level"] = ""
    return {
        "rows": len(ledger),
        "file": keys(ledger["file_key"]),
        "image": keys(ledger["image_key"]),
        "columns": {name: column(ledger[name]) for name in (*COLUMNS, "level")},
        "patients": _patients(tables),
        "criteria": [
            {
                **{name: step[name] for name in ("slug", "code", "reason", "threshold", "scope")},
                "words": words(step["slug"]),
            }
            for step in tables.flow["steps"]
        ],
        "thumbnails": {one.row: asdict(one) for one in gallery.thumbnails},
    }


def keys(pseudonyms: "pd.Series[str]") -> str:
    """Return the 16 digits of each pseudonym as 8 bytes, all in base64."""
    digits = "".join(key[2:] if key else "0" * 16 for key in pseudonyms)
    return base64.b64encode(bytes.fromhex(digits)).decode("ascii")


def column(texts: "pd.Series[str]") -> dict[str, Any]:
    """Return a column as its distinct texts, and the place of each row's own.

    Returns
    -------
    dict
        ``values``, list of str in order of first use; ``bits``, 16 or 32; ``places``, unsigned
        little-endian integers of so many bits, in base64.
    """
    places, values = pd.factorize(texts)
    bits = 16 if len(values) < 1 << 16 else 32
    packed: NDArray[Any] = places.astype(np.dtype(f"<u{bits // 8}"))
    return {
        "values": [str(value) for value in values],
        "bits": bits,
        "places": base64.b64encode(packed.tobytes()).decode("ascii"),
    }


def _patients(tables: Tables) -> dict[str, list[Any]]:
    """Return of each patient: files, files included, criterion, parts and class."""
    pairs = tables.split[["patient_key", "subset"]].drop_duplicates().sort_values("subset")
    parts = _joined(zip(pairs["patient_key"], pairs["subset"], strict=True), " and ")
    strata = dict(zip(tables.split["patient_key"], tables.split["stratum"], strict=True))
    rows = tables.exclusions[["patient_key", "n_files", "n_included", "criterion"]]
    return {
        key: [files, included, criterion, parts.get(key, ""), strata.get(key, "")]
        for key, files, included, criterion in rows.itertuples(index=False, name=None)
    }


def _joined(pairs: Iterable[tuple[str, str]], by: str) -> dict[str, str]:
    """Return all texts of each key, in order."""
    joined: dict[str, str] = {}
    for key, text in pairs:
        joined[key] = f"{joined[key]}{by}{text}" if key in joined else text
    return joined
