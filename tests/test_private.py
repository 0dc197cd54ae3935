import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsnet.errors import UserError
from dsnet.private import (
    PHANTOM_UID_ROOT,
    PrivateCohort,
    image_marks,
    is_phantom,
    open_private,
    phantom_id,
    share_images,
)

COHORT = PrivateCohort("a" * 16, bytes(32), Path("private"))
MARKS = st.sets(st.integers(0, 40).map(str), min_size=1)


@given(st.text(min_size=1), st.text(min_size=1))
def test_pseudonyms_distinguish_values_and_kinds(one: str, other: str) -> None:
    key = COHORT.pseudonym("patient", one)
    assert re.fullmatch(r"P-[0-9a-f]{16}", key)
    assert (key == COHORT.pseudonym("patient", other)) == (one == other)
    assert key[2:] != COHORT.pseudonym("study", one)[2:]
    assert key != COHORT.path_pseudonym("patient", one)


def test_another_key_gives_other_pseudonyms() -> None:
    other = PrivateCohort("a" * 16, bytes([1]) * 32, Path("private"))
    assert COHORT.pseudonym("patient", "0042") != other.pseudonym("patient", "0042")
    assert COHORT.fingerprint != other.fingerprint
    assert COHORT.key.hex()[:16] != COHORT.fingerprint


def test_leading_zeros_matter() -> None:
    assert COHORT.pseudonym("patient", "042") != COHORT.pseudonym("patient", "42")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    private = tmp_path / "private"
    first = open_private(private, "b" * 16, create=True)
    assert open_private(private, "b" * 16, create=True) == first
    assert open_private(private, "b" * 16) == first
    if sys.platform != "win32":
        assert stat.S_IMODE((private / "pseudonym.key").stat().st_mode) == 0o600


def test_a_missing_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        open_private(tmp_path / "private", "b" * 16)
    assert not (tmp_path / "private").exists()


@pytest.mark.parametrize("content", [b"0123", b"", b"\xff\xfe" * 32, b"zz" * 32])
def test_a_damaged_key_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pseudonym.key").write_bytes(content)
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        open_private(tmp_path, "b" * 16, create=True)
    assert (tmp_path / "pseudonym.key").read_bytes() == content


def test_the_phantoms_key_follows_from_its_seed(tmp_path: Path) -> None:
    made = [
        open_private(tmp_path / name, phantom_id(5), phantom_seed=5, create=True) for name in "ab"
    ]
    assert made[0].key == made[1].key
    assert made[0].public
    assert not (tmp_path / "a" / "pseudonym.key").exists()


def test_a_real_folder_is_never_the_phantom() -> None:
    own = f"{PHANTOM_UID_ROOT}5.1"
    assert is_phantom(5, {own})
    assert not is_phantom(5, {own, "1.2.840.113619.2"})
    assert not is_phantom(5, {f"{PHANTOM_UID_ROOT}6.1"})
    assert not is_phantom(5, {own, ""})
    assert not is_phantom(5, set())
    assert not is_phantom(None, {own})


def test_marks_are_uids_where_these_tell_files_apart() -> None:
    assert marked(["1", "2"], ["x", "y"]) == hashed("1", "2")
    assert marked(["1", "1", ""], ["x", "y", "z"]) == hashed("x", "y", "z")
    assert marked(["", ""], ["", ""]) == hashed()


def marked(uids: list[str], pixel_hashes: list[str]) -> list[int]:
    marks: list[int] = image_marks(uids, pixel_hashes).tolist()
    return marks


def hashed(*texts: str) -> list[int]:
    return sorted(map(hash, texts))


@given(MARKS, MARKS)
def test_a_cohort_is_recognised_as_itself_larger_or_smaller(one: set[str], more: set[str]) -> None:
    def share(first: set[str], second: set[str], *, grown: bool) -> bool:
        marks = (image_marks(uids, uids) for uids in (first, second))
        return share_images(*marks, grown=grown)

    assert share(one, one, grown=False)
    assert share(one, one | more, grown=True)
    assert share(one | more, one, grown=True)
    if not one & more:
        assert not share(one, more, grown=True)
    if share(one, more, grown=False):
        assert share(one, more, grown=True)
