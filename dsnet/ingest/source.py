"""Whose results these are: the stamp beside the index, and the guard that reads it.

The workflow calls the guard whenever it loads, so nothing heavy is imported here.
"""

import json
from pathlib import Path
from typing import Any

from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError
from dsnet.pseudonym import Vault, open_vault


def check_source(source: Path, cohort: CohortFolder, private: Path) -> None:
    """Make sure that `cohort` and its key may write over the results stamped by `source`.

    Results without a stamp are anybody's. The key of the built-in phantom follows from its seed
    and cannot be lost; another seed simply makes other results.

    Parameters
    ----------
    source : Path
        ``cohort/source.json`` of the results.
    cohort : CohortFolder
    private : Path
        The folder of the config key ``private``.

    Raises
    ------
    UserError
        If the results are another cohort's, or were made with a key that is missing or another.
    """
    if not source.exists():
        return
    stamp = _read(source)
    if stamp.get("folder") != cohort.identity:
        raise UserError(
            str(source),
            expected="results of the configured cohort",
            came="results of another one",
            remedy="set the config key results to another folder, or delete these results",
        )
    if cohort.phantom_seed is None and stamp.get("key") != open_vault(private, cohort).fingerprint:
        raise UserError(
            str(source),
            expected="results made with the key that lies in the private folder",
            came="results made with another key",
            remedy="bring the right key back from its backup, or delete these results",
        )


def stamp(cohort: CohortFolder, vault: Vault) -> dict[str, Any]:
    """Return what ``source.json`` says of the cohort; its name and note are public by intent."""
    note = {"note": cohort.note} if cohort.note else {}
    return {
        "name": cohort.name,
        "synthetic": cohort.synthetic,
        **note,
        "folder": cohort.identity,
        "key": vault.fingerprint,
    }


def _read(source: Path) -> dict[str, Any]:
    try:
        stamp = json.loads(source.read_text(encoding="utf-8"))
    except ValueError:
        stamp = None
    if not isinstance(stamp, dict):
        raise UserError(
            str(source),
            expected="the JSON object that ingestion writes",
            came="something else",
            remedy="delete these results and run the workflow",
        )
    return stamp
