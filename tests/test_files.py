import csv
import errno
import hashlib
import io
import os
from pathlib import Path

import pandas as pd
import pytest

from dsnet import files
from dsnet.errors import UserError
from dsnet.files import write_spreadsheet_csv


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail_halfway() -> None:
        with files.whole(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    with files.whole(target) as temporary:
        temporary.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"


def test_the_bytes_are_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "table.csv"
    before: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: before.append(not target.exists()))
    files.write_text(target, "all")
    assert before == [True]
    assert target.read_text() == "all"


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EACCES, "denied"),
        (errno.EPERM, "denied"),
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
    ],
)
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, number: int, cause: str) -> None:
    def fail() -> None:
        raise OSError(number, "as the system says")

    with pytest.raises(UserError, match=cause), files.whole(tmp_path / "table.csv"):
        fail()


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "metrics.json", {"map": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "store").write_bytes(content)
    assert files.sha256(tmp_path / "store") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x","y")',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(1+1)",
        "\t=1",
        "\r=1",
        "  =1",
        "\uff1d1",
        "--1",
        "-",
    ],
)
def test_no_cell_of_a_spreadsheet_is_a_formula(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    write_spreadsheet_csv(path, pd.DataFrame({"id": [text], text: [1], "n": [-2.5]}))
    header, row = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert header == ["id", f"'{text}", "n"]
    assert row == [f"'{text}", "1", "-2.5"]


@pytest.mark.parametrize("text", ["-2.5", "+3", "-1e-5", "Anna", "", "a=b", "12-3", "'=1"])
def test_numbers_and_names_stay_as_they_are(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    write_spreadsheet_csv(path, pd.DataFrame({"id": [text]}))
    _, row = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert row == [text]


def test_a_private_table_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_spreadsheet_csv(path, pd.DataFrame({"id": ["=1"]}), mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
