"""The machine: which device computes, in which precision, on how many CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.utils.deterministic

from dsnet.processes import cpus

Wanted = Literal["auto", "32", "bf16", "16"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_CPU_INFO = Path("/proc/cpuinfo")
_BF16_UNITS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes
    ----------
    device : torch.device
    name : str
        Its product name.
    threads : int
        CPUs for torch: what Snakemake gives the rule (OMP_NUM_THREADS), and no more than there are.
    precision : str
        In Lightning's words.
    """

    device: torch.device
    name: str
    threads: int
    precision: Precision

    def facts(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {**asdict(self), "device": self.device.type}


def this_machine(wanted: Wanted = "32") -> Machine:
    """Return the first CUDA device, else the CPU, with the precision `wanted`."""
    used = device()
    threads = min(torch.get_num_threads(), cpus())
    return Machine(used, device_name(used), threads, _precision(wanted, used))


def device() -> torch.device:
    """Return the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(used: torch.device) -> str:
    """Return the product name of `used`."""
    if used.type == "cuda":
        return torch.cuda.get_device_name(used)
    names = [line for line in _cpu_info() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else "CPU"


def _precision(wanted: Wanted, used: torch.device) -> Precision:
    """Return the precision of training; ``auto`` is bf16 where the device computes in it.

    A CPU without units for bf16 would emulate it, which is slower than float32. None computes in
    float16: asked for it, a CPU takes bf16, as in Lightning.
    """
    if wanted == "16" and used.type == "cuda":
        return "16-mixed"
    if wanted in ("bf16", "16") or (wanted == "auto" and _has_bf16(used)):
        return "bf16-mixed"
    return "32-true"


@contextmanager
def reproducible(machine: Machine) -> Iterator[None]:
    """Compute on the CPUs of `machine` and, without a GPU, with deterministic algorithms only.

    On CUDA the gradient of region pooling adds in no fixed order, and its deterministic form needs
    a compiler at run time: there, two runs of one seed agree only nearly.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its switch is made at run time
    fill = memory.fill_uninitialized_memory
    # Filling fresh memory exposes faulty kernels, but takes a tenth of the time.
    memory.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(machine.device.type == "cpu")
    torch.set_num_threads(machine.threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        memory.fill_uninitialized_memory = fill
        torch.set_num_threads(threads)


def _has_bf16(used: torch.device) -> bool:
    if used.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = [line for line in _cpu_info() if line.startswith("flags")]
    return bool(flags) and not _BF16_UNITS.isdisjoint(flags[0].split())


def _cpu_info() -> list[str]:
    """Return the lines in which Linux describes the CPUs; none on other systems."""
    return _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []
