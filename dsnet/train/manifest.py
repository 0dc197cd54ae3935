"""The run manifest: where a file of weights came from."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("dsnet", "lightning-fabric", "numpy", "torch", "torchvision")


def describe(
    settings: Mapping[str, Any],
    *,
    data: Mapping[str, Any],
    start: Mapping[str, Any],
    machine: Mapping[str, Any],
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the manifest as JSON values.

    Parameters
    ----------
    settings : mapping
        Variant, seed, and the config of detector and training.
    data : mapping
        Cohort, whether it is synthetic, and the SHA-256 of the store's digest.
    start : mapping
        Where the first weights came from.
    machine : mapping
        Device, threads, precision; devices and nodes.
    result : mapping
        Epoch that counts, epochs trained, wall time, class weights, parameters, gammas.
    """
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        "settings": dict(settings),
        "data": dict(data),
        "start": dict(start),
        "machine": dict(machine),
        "result": dict(result),
    }


def commit() -> str:
    """Return the commit of the package's sources, ``unknown`` outside a clone."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - wherever git is installed
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"
