import errno
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import permutations
from pathlib import Path

import pytest

from dsnet import step
from dsnet.config.cohort import Split
from dsnet.errors import UserError


def test_arguments_follow_the_signature(tmp_path: Path) -> None:
    seen: list[object] = []

    def work(*, params: Split, table: Path, seed: int = 3) -> None:
        seen.extend((params.seed, table, seed))

    step.run(
        work, argv=["--params", '{"seed": 7}', "--table", "a.csv", "--log", str(tmp_path / "log")]
    )
    assert seen == [7, Path("a.csv"), 3]
    assert (tmp_path / "log").read_text().startswith("done in")


def grade_all(*, table: Path) -> str:
    return f"graded {table}"


def grade(*, table: Path) -> str:
    return f"one grade in {table}"


def count(*, seed: int) -> str:
    return f"counted {seed}"


@pytest.mark.parametrize("steps", [*permutations((grade_all, grade, count), 2)])
def test_of_several_steps_the_first_argument_names_one(
    steps: tuple[Callable[..., str], ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for one, option, said in (
        (grade_all, "--table=a.csv", "dsnet: graded a.csv\n"),
        (grade, "--table=a.csv", "dsnet: one grade in a.csv\n"),
        (count, "--seed=1", "dsnet: counted 1\n"),
    ):
        arguments = [one.__name__.replace("_", "-"), option]
        if one in steps:
            step.run(*steps, argv=arguments)
            assert capsys.readouterr().err == said
        else:
            with pytest.raises(SystemExit) as left:
                step.run(*steps, argv=arguments)
            assert left.value.code == 2
            assert "No such command" in capsys.readouterr().err


def test_a_users_error_is_one_sentence_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise UserError(
            "dxa.csv row 3",
            expected="a number",
            came="text",
            remedy="correct it",
            private="Mrs Example",
        )

    with pytest.raises(SystemExit) as left:
        step.run(work, argv=["--log", str(tmp_path / "log")])
    printed = capsys.readouterr().err
    assert left.value.code == 1
    assert printed == "dsnet: dxa.csv row 3: expected a number, but found text; correct it.\n"
    assert "Example" not in (tmp_path / "log").read_text()


def test_private_detail_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), step.reporting(show_private=True):
        raise UserError("a", expected="b", came="c", remedy="d", private="Mrs Example")
    assert "Mrs Example" in capsys.readouterr().err


def test_an_unexpected_fault_keeps_its_message_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise ValueError("invalid date for EXAMPLE^ANNA")

    with pytest.raises(SystemExit) as left:
        step.run(work, argv=["--log", str(tmp_path / "log")])
    said = capsys.readouterr().err + (tmp_path / "log").read_text()
    assert left.value.code == 70
    assert "ValueError at test_step.py:" in said
    assert "EXAMPLE" not in said


def test_debugging_lets_the_traceback_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise ValueError("all of it")

    monkeypatch.setenv("DSNET_DEBUG", "1")
    with pytest.raises(ValueError, match="all of it"):
        step.run(work, argv=[])


def test_a_wrong_section_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def work(*, params: Split) -> None:
        raise AssertionError(params)

    with pytest.raises(SystemExit) as left:
        step.run(work, argv=["--params", '{"sed": 1}'])
    assert left.value.code == 2
    assert "unknown key sed = 1 (did you mean seed?" in capsys.readouterr().err


def _fill_the_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/private/EXAMPLE^ANNA")


def _fill_the_database() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


@pytest.mark.parametrize("work", [_fill_the_disk, _fill_the_database])
def test_a_full_disk_is_no_fault_of_the_program(
    capsys: pytest.CaptureFixture[str], work: Callable[[], None]
) -> None:
    with pytest.raises(SystemExit) as left:
        step.run(work, argv=[])
    printed = capsys.readouterr().err
    assert left.value.code == 1
    assert "but found that the disk is full; free" in printed
    assert "EXAMPLE" not in printed


def test_a_log_on_a_full_disk_hides_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("logs", expected="a", came="that the disk is full", remedy="free it")

    monkeypatch.setattr(step, "write_text", full)
    with pytest.raises(SystemExit) as left:
        step.run(_fill_the_disk, argv=["--log", str(tmp_path / "log")])
    assert left.value.code == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_fault() -> None:
    program = (
        "from dsnet.step import run\n"
        "def work():\n    for _ in range(100000):\n        print('row', flush=True)\n"
        "run(work, argv=[])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "row\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_broken_pipe_elsewhere_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, step.reporting():
        raise BrokenPipeError
    assert left.value.code == 70
    assert "BrokenPipeError" in capsys.readouterr().err
