import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsnet.detect import device
from dsnet.detect.device import Machine, reproducible, this_machine


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("flags", "auto"),
    [("fpu avx512_bf16 sse", "bf16-mixed"), ("amx_bf16", "bf16-mixed"), ("avx512f", "32-true")],
)
def test_auto_is_bf16_where_the_cpu_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, auto: str
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"model name\t: Some CPU: 9\nflags\t\t: {flags}\n\nflags\t\t: other\n")
    monkeypatch.setattr(device, "_CPU_INFO", info)
    assert this_machine("auto").precision == auto
    assert this_machine("auto").name == "Some CPU: 9"
    assert this_machine("bf16").precision == "bf16-mixed"
    assert this_machine("16").precision == "bf16-mixed"  # no CPU computes in float16
    assert this_machine().precision == "32-true"


@pytest.mark.usefixtures("cpu_only")
def test_a_system_that_tells_nothing_gets_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_CPU_INFO", tmp_path / "none")
    assert this_machine("auto").precision == "32-true"
    assert this_machine("auto").name == "CPU"


def test_threads_and_determinism_are_put_back() -> None:
    threads = torch.get_num_threads()
    machine = Machine(torch.device("cpu"), "", 1, "32-true")
    with reproducible(machine):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_rule_has_the_threads_that_snakemake_gives_it() -> None:
    code = "from dsnet.detect.device import this_machine; print(this_machine().threads)"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment).strip() == b"1"


def test_float16_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Some GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_kwargs: True)
    kinds = {wanted: this_machine(wanted).precision for wanted in ("auto", "32", "bf16", "16")}
    assert kinds == {
        "auto": "bf16-mixed",
        "32": "32-true",
        "bf16": "bf16-mixed",
        "16": "16-mixed",
    }
