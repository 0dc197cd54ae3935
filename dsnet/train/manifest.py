"""The run manifest: where a file of weights came from."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dsnet import __version__

_PACKAGES = ("lightning-fabric", "numpy", "torch", "torchvision")


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
        "versions": {"python": platform.python_version(), "dsnet": __version__}
        | {name: version(name) for name in _PACKAGES},
        "settings": dict(settings),
        "data": dict(data),
        "start": dict(start),
        "machine": dict(machine),
        "result": dict(result),
    }


def commit() -> str:
    """Return the commit of the package's sources, ``unknown`` outside a clone.

    A clone may be another user's, as in a container. An image without a clone has the commit of its
    build in the environment variable ``DSNET_COMMIT``.
    """
    built = os.environ.get("DSNET_COMMIT") or "unknown"
    try:
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],  # noqa: S607 - git, where it is
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return built
    return answer.stdout.strip() if answer.returncode == 0 else built
