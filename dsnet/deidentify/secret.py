"""What follows from the key: new UIDs, and by how many days a patient's dates are shifted."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass

_LEAST_DAYS, _MOST_DAYS = 10 * 365, 20 * 365
"""At least ten years: a patient's true dates seldom lie further apart, so that none of them is
another's shifted one; back in time, so that nobody is examined in the future."""


@dataclass(frozen=True)
class Secret:
    """Keyed replacements, the same in every run with the same key.

    Parameters
    ----------
    key : bytes
        Of the vault.
    """

    key: bytes

    def uid(self, text: str) -> str:
        """Return the UID that stands for another: 2.25 and a UUID (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', text)[:16], version=4).int}"

    def shift(self, patient_key: str) -> int:
        """Return the days, below zero, by which all dates of a patient move."""
        number = int.from_bytes(self._digest("shift", patient_key)[:8])
        return -(_LEAST_DAYS + number % (_MOST_DAYS - _LEAST_DAYS + 1))

    def _digest(self, purpose: str, text: str) -> bytes:
        message = f"deidentify {purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).digest()
