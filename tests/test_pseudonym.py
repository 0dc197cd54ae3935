import json
import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError
from dsnet.pseudonym import Vault, open_vault

VAULT = Vault(bytes(32), Path("private"))


@pytest.fixture
def cohort(tmp_path: Path) -> CohortFolder:
    (tmp_path / "cohort").mkdir()
    return CohortFolder(tmp_path / "cohort")


@given(st.text(min_size=1), st.text(min_size=1))
def test_pseudonyms_tell_values_and_kinds_apart(one: str, other: str) -> None:
    key = VAULT.pseudonym("patient", one)
    assert re.fullmatch(r"P-[0-9a-f]{16}", key)
    assert (key == VAULT.pseudonym("patient", other)) == (one == other)
    assert key[2:] != VAULT.pseudonym("study", one)[2:]


def test_another_key_gives_other_pseudonyms() -> None:
    other = Vault(bytes([1]) * 32, Path("private"))
    assert VAULT.pseudonym("patient", "0042") != other.pseudonym("patient", "0042")
    assert VAULT.fingerprint != other.fingerprint
    assert VAULT.key.hex()[:16] != VAULT.fingerprint


def test_leading_zeros_matter() -> None:
    assert VAULT.pseudonym("patient", "042") != VAULT.pseudonym("patient", "42")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path, cohort: CohortFolder) -> None:
    private = tmp_path / "private"
    first = open_vault(private, cohort, create=True)
    assert open_vault(private, cohort, create=True) == first
    assert open_vault(private, cohort) == first
    if sys.platform != "win32":
        assert stat.S_IMODE((private / "pseudonym.key").stat().st_mode) == 0o600


def test_a_missing_key_is_not_replaced_in_silence(tmp_path: Path, cohort: CohortFolder) -> None:
    with pytest.raises(UserError, match="no file"):
        open_vault(tmp_path / "private", cohort)
    assert not (tmp_path / "private").exists()


def test_a_damaged_key_is_said(tmp_path: Path, cohort: CohortFolder) -> None:
    (tmp_path / "pseudonym.key").write_text("0123")
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        open_vault(tmp_path, cohort)


def test_the_phantoms_key_follows_from_its_seed(tmp_path: Path, cohort: CohortFolder) -> None:
    about = {"name": "phantom", "synthetic": True, "phantom_seed": 5}
    (cohort.path / "cohort.json").write_text(json.dumps(about))
    made = open_vault(tmp_path / "a", CohortFolder(cohort.path))
    assert made.key == open_vault(tmp_path / "b", CohortFolder(cohort.path)).key
    assert not (tmp_path / "a" / "pseudonym.key").exists()


def test_a_cohort_that_is_not_synthetic_has_a_secret_key(cohort: CohortFolder) -> None:
    about = {"name": "hospital", "synthetic": False, "phantom_seed": 5}
    (cohort.path / "cohort.json").write_text(json.dumps(about))
    assert CohortFolder(cohort.path).phantom_seed is None
