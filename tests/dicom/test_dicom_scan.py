import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.scan import native, parent, portable, scan
from dsnet.errors import UserError

posix = pytest.mark.skipif(os.name == "nt", reason="names and links as POSIX has them")


def relatives(root: Path) -> list[str]:
    return [file.relative for file in scan(root)]


def test_every_file_is_listed_under_any_name(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "b/a/1", ".hidden", "b/NOTES.TXT", "DICOMDIR"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    files = scan(tmp_path)
    assert [file.relative for file in files] == [
        ".hidden", "DICOMDIR", "b/2.dcm", "b/NOTES.TXT", "b/a/1",
    ]  # fmt: skip
    assert [file.size for file in files] == [len(file.relative) for file in files]
    assert all(file.mtime_ns == Path(file.path).stat().st_mtime_ns for file in files)


@posix
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    (real / "deep").mkdir(parents=True)
    (real / "deep" / "1").write_bytes(b"")
    root = tmp_path / "dicom"
    root.symlink_to(real)
    (real / "again").symlink_to(real / "deep")
    (real / "deep" / "up").symlink_to(real)
    (real / "broken").symlink_to(tmp_path / "nowhere")
    (real / "self").symlink_to(real / "self")
    os.mkfifo(real / "pipe")
    assert relatives(root) == ["again/1", "broken", "deep/1", "self"]


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses names that are not UTF-8")
def test_a_name_that_is_not_utf_8_leads_back_to_its_file(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"M\xfcller \\x41")  # noqa: PTH118 - bytes
    with open(path, "wb") as stream:  # noqa: PTH123 - bytes
        stream.write(b"abc")
    (file,) = scan(tmp_path)
    assert file.relative == r"M\xfcller \\x41"
    assert (tmp_path / native(file.relative)).read_bytes() == b"abc"


@given(st.binary(max_size=12))
@settings(deadline=None, max_examples=50)
def test_portable_text_and_native_path_are_each_others_inverse(name: bytes) -> None:
    path = name.decode("utf-8", "surrogatepass" if os.name == "nt" else "surrogateescape")
    text = portable(path)
    assert native(text) == path
    text.encode("utf-8")


@pytest.mark.parametrize("name", ["plain/IM00001", "größe/片/1", "a b/c.dcm"])
def test_an_ordinary_path_stays_as_it_is(name: str) -> None:
    assert portable(name) == name


def test_parent_is_blank_at_the_top() -> None:
    assert [parent("1"), parent("a/1"), parent("a/b/1")] == ["", "a", "a/b"]


@posix
def test_a_folder_that_cannot_be_listed_stops_or_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "a" / "Thornabee"
    closed.mkdir(parents=True)
    (tmp_path / "a" / "1").write_bytes(b"")
    (tmp_path / "skipped").mkdir()
    (tmp_path / "skipped" / "2").write_bytes(b"")
    real = os.scandir

    def scandir(folder: str) -> object:
        if folder == str(closed):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    denied: list[str] = []
    files = scan(tmp_path, skip=tmp_path / "skipped", denied=denied)
    assert ([file.relative for file in files], denied) == (["a/1"], ["a/Thornabee"])
    with pytest.raises(UserError) as caught:
        scan(tmp_path)
    assert "Thornabee" not in str(caught.value)
    assert "Thornabee" in caught.value.private
