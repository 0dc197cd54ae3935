import json
import stat
import sys
from pathlib import Path

import pytest

from dsnet import errors, step
from dsnet.errors import UserError, collect_errors, collectable


def fail() -> None:
    raise UserError("dxa.csv row 3", expected="a", came="b", remedy="c", private="Mrs Example")


def test_a_step_of_the_workflow_leaves_its_error_with_private_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "private"
    monkeypatch.setenv(errors.FAILURES, str(errors.failures_file(private)))
    for _ in range(2):
        with pytest.raises(SystemExit):
            step.run(fail, argv=["--log", str(tmp_path / "match.log")])
    assert "Example" not in capsys.readouterr().err
    kept = errors.read_failures(private)
    assert [failure.private for failure in kept] == ["Mrs Example"] * 2
    if sys.platform != "win32":
        assert stat.S_IMODE(errors.failures_file(private).stat().st_mode) == 0o600
    lines = errors.failures_summary(kept).splitlines()
    assert lines == [
        "dsnet: dxa.csv row 3: expected a, but found b; c.",
        "dsnet: on a private terminal, dsnet why adds whose data these are.",
        errors.CHECK,
    ]
    errors.forget_failures(private)
    assert errors.read_failures(private) == []


def test_a_step_alone_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(errors.FAILURES, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        step.run(fail, argv=[])
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_was_killed_is_told_of() -> None:
    assert "as after Ctrl-C" in errors.failures_summary([])
    assert "want of memory" in errors.failures_summary([])


def test_a_notice_goes_to_terminal_and_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> str:
        return "3 patient IDs nearly equal another one."

    step.run(work, argv=["--log", str(tmp_path / "log")])
    assert capsys.readouterr().err == "dsnet: 3 patient IDs nearly equal another one.\n"
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines()[1].startswith("3 patient")


def test_errors_are_collected_only_where_that_is_asked_for() -> None:
    with pytest.raises(UserError), collectable():
        fail()
    with collect_errors() as errors:
        for _ in range(3):
            with collectable():
                fail()
    assert len(errors) == 3
    with pytest.raises(UserError), collectable():
        fail()


def test_a_line_that_a_full_disk_cut_short_is_passed_over(tmp_path: Path) -> None:
    whole = json.dumps({"sentence": "a", "private": "", "log": ""})
    errors.failures_file(tmp_path).write_text(f"{whole}\n{whole[:9]}")
    assert errors.read_failures(tmp_path) == [errors.Failure("a", "", "")]
