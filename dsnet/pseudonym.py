"""Keyed pseudonyms, and the private folder that alone can undo them.

A pseudonym is the first 16 hexadecimal digits of HMAC-SHA-256 over the kind and the value, after a
letter that tells the kind. Nobody without the key can test a guess of a hospital ID against it.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError

Kind = Literal["file", "image", "series", "study", "patient"]

_LETTER: dict[Kind, str] = {
    "file": "F",
    "image": "I",
    "series": "S",
    "study": "E",
    "patient": "P",
}
_DIGITS = 16


@dataclass(frozen=True)
class Vault:
    """The private side of one cohort.

    Attributes
    ----------
    key : bytes
        32 secret bytes; for the built-in phantom they follow from its seed.
    folder : Path
        Where the map back (`map_path`) and the ingest cache (`cache_path`) lie; mode 700.
    """

    key: bytes
    folder: Path

    @property
    def map_path(self) -> Path:
        """The table that leads from pseudonyms back to identities; mode 600."""
        return self.folder / "map.parquet"

    @property
    def identifying_path(self) -> Path:
        """Every identifying value that ingestion met, for the self-test; mode 600."""
        return self.folder / "identifying.parquet"

    @property
    def cache_path(self) -> Path:
        """What was read from each file, so that a re-run reads only what is new; mode 600."""
        return self.folder / "ingest.sqlite"

    @property
    def id_match_path(self) -> Path:
        """IDs of scans and DXA exams that have no partner, and what comes near; mode 600.

        Of the cohort that was judged last, where a user looks for it: beside the cohorts' folders.
        """
        return self.folder.parent / "id_match.csv"

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that tell whether two tables were made with the same key."""
        return hashlib.sha256(b"fingerprint" + self.key).hexdigest()[:_DIGITS]

    def pseudonym(self, kind: Kind, value: str) -> str:
        """Return the pseudonym of `value`, the same for the same key, kind and value.

        Parameters
        ----------
        kind : {"file", "image", "series", "study", "patient"}
        value : str
            The identity, already stripped of padding; not blank.
        """
        message = f"{kind}\0{value}".encode("utf-8", "surrogateescape")
        digest = hmac.new(self.key, message, hashlib.sha256).hexdigest()
        return f"{_LETTER[kind]}-{digest[:_DIGITS]}"


def open_vault(private: Path, cohort: CohortFolder, *, create: bool = False) -> Vault:
    """Return the vault of `cohort`, whose files lie under `private`.

    Parameters
    ----------
    private : Path
        The folder of the config key ``private``.
    cohort : CohortFolder
    create : bool
        Whether a missing key may be made; only ingestion does that.

    Raises
    ------
    UserError
        If there is no key and `create` is false.
    """
    name = hashlib.sha256(str(cohort.path.resolve()).encode()).hexdigest()[:8]
    folder = private / name
    if create:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    seed = cohort.phantom_seed
    if seed is not None:
        return Vault(hashlib.sha256(f"dsnet phantom {seed}".encode()).digest(), folder)
    return Vault(_secret(private / "pseudonym.key", create=create), folder)


def _secret(path: Path, *, create: bool) -> bytes:
    if not path.exists():
        if not create:
            raise UserError(
                str(path),
                expected="the key that made the pseudonyms",
                came="no file",
                remedy="bring the key back from its backup, or delete the results and ingest anew",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    text = path.read_text().strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(
            str(path),
            expected="64 hexadecimal digits",
            came=f"{len(text)} characters that are not such a key",
            remedy="bring the key back from its backup, or delete the results and ingest anew",
        )
    return key
