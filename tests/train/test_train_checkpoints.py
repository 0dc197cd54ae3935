import errno
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsnet.errors import UserError
from dsnet.train import checkpoints as module
from dsnet.train.checkpoints import WholeCheckpoints, run_folder, save

pytestmark = pytest.mark.slow

HOLD = """
import sys
from pathlib import Path
from dsnet.train.checkpoints import run_folder
with run_folder(Path(sys.argv[1]), "a"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_checkpoint_of_the_same_settings_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with run_folder(tmp_path / "run", "a") as folder:
            folder.last.touch()
            folder.weights(2).touch()
    with run_folder(tmp_path / "run", "a") as folder:
        assert folder.last.exists()
        assert folder.weights(2).exists()


def test_a_checkpoint_of_other_settings_goes(tmp_path: Path) -> None:
    with run_folder(tmp_path, "a") as folder:
        folder.last.touch()
        folder.weights(2).touch()
    with run_folder(tmp_path, "b") as folder:
        assert not folder.last.exists()
        assert not folder.weights(2).exists()


def test_a_checkpoint_of_unknown_settings_goes(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    with run_folder(tmp_path, "a") as folder:
        assert not folder.last.exists()


def test_pruning_keeps_one(tmp_path: Path) -> None:
    with run_folder(tmp_path, "a") as folder:
        for epoch in (1, 2, 11):
            folder.weights(epoch).touch()
        folder.prune(keep=1)
        assert [path.name for path in tmp_path.glob("*.pt")] == ["weights-1.pt"]


def test_a_cleared_folder_holds_nothing_to_resume(tmp_path: Path) -> None:
    with run_folder(tmp_path, "a") as folder:
        folder.last.touch()
        folder.weights(1).touch()
        folder.clear()
    assert {path.name for path in tmp_path.iterdir()} <= {"busy"}


def test_two_trainings_never_share_a_folder_and_the_dead_hold_none(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        running = f"process {other.pid} on {platform.node()}"
        with pytest.raises(UserError, match=running), run_folder(tmp_path, "a"):
            pass
        other.kill()
    with run_folder(tmp_path, "a") as folder:
        assert folder.path == tmp_path


# The process of another node, on a file system without locks.
HOLD_A_LEASE = """
import errno, fcntl, platform, socket, sys
socket.gethostname = platform.node = lambda: "node7"
def flock(*_): raise OSError(errno.ENOSYS, "no locks here")
fcntl.flock = flock
from pathlib import Path
from dsnet.train import checkpoints
checkpoints._LEASE_S = 1.0
with checkpoints.run_folder(Path(sys.argv[1]), "a"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="flock is Unix's")
def test_without_locks_a_living_node_is_named_and_a_dead_one_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl  # noqa: PLC0415 - absent on Windows

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(module, "_LEASE_S", 1.0)
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 2.5)
    command = [sys.executable, "-c", HOLD_A_LEASE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        running = f"process {other.pid} on node7"
        with pytest.raises(UserError, match=running), run_folder(tmp_path, "a"):
            pass
        assert f"is held by {running}; waiting for it" in capsys.readouterr().err
        other.kill()
    with run_folder(tmp_path, "a") as folder:
        assert folder.path == tmp_path
    assert not (tmp_path / "process").exists()


CPU_32 = "32-true on cpu, 1 processes"


def test_on_another_node_of_the_same_kind_a_training_goes_on(tmp_path: Path) -> None:
    for machine in ("Xeon", "Epyc", "Xeon"):
        with run_folder(tmp_path, "a", numerics=CPU_32, machine=machine) as folder:
            folder.last.touch()
    with run_folder(tmp_path, "a", numerics=CPU_32, machine="Epyc") as folder:
        assert folder.last.exists()
        assert folder.machines() == ["Xeon", "Epyc"]
        folder.clear()
    with run_folder(tmp_path, "a", numerics=CPU_32, machine="Epyc") as folder:
        assert folder.machines() == ["Epyc"]


@pytest.mark.parametrize(
    "other", ["bf16-mixed on cpu, 1 processes", "32-true on cuda, 1 processes"]
)
def test_in_another_precision_a_checkpoint_is_neither_resumed_nor_deleted(
    tmp_path: Path, other: str
) -> None:
    with run_folder(tmp_path, "a", numerics=CPU_32) as folder:
        folder.last.touch()
    sentence = f"goes on as it began, in {CPU_32}, but found {other} on this node; start it on"
    again = run_folder(tmp_path, "a", numerics=other)
    with pytest.raises(UserError, match=sentence), again:
        pass
    with run_folder(tmp_path, "a", numerics=CPU_32) as folder:
        assert folder.last.exists()


def test_the_other_processes_of_a_training_wait_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.0)
    with run_folder(tmp_path, "other settings"):
        pass
    second = run_folder(tmp_path, "a", first=False)
    with pytest.raises(UserError, match="the first process"), second:
        pass
    with run_folder(tmp_path, "a") as folder:
        folder.last.touch()
        with run_folder(tmp_path, "a", first=False) as shared:
            assert shared.last == folder.last
        assert folder.last.exists()


def test_checkpoints_are_whole_and_hold_no_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1, "weight": torch.ones(2)}, path)
    read = WholeCheckpoints().load_checkpoint(path)
    assert read["epoch"] == 1
    assert torch.equal(read["weight"], torch.ones(2))

    class Unsaveable:
        def __reduce__(self) -> str:
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        save({"weight": Unsaveable()}, path)
    assert WholeCheckpoints().load_checkpoint(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: opened(Path("/dev/full") if "w" in mode else path, mode)
    )
    with pytest.raises(UserError, match="found that the disk is full"):
        save({"weight": torch.ones(1 << 16)}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []
