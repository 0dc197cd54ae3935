"""Detectors as ONNX: read and run with onnxruntime, without torch (the extra onnx)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsnet.errors import UserError
from dsnet.processes import cpus

_FORMAT, _VERSION = "dsnet model", "2"  # as dsnet.detect.model_file, which imports torch
_ERRORS_ONLY = 3


def read_onnx(path: Path) -> tuple[dict[str, Any], str]:
    """Return the facts and the SHA-256 of an ONNX file that ``dsnet export`` wrote.

    Raises
    ------
    UserError
        If onnx is not installed, or the file is not one of these, or not whole.
    """
    onnx = _package("onnx")
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise _refused(path, "no file", "correct the path") from error
    except Exception as error:  # protobuf's DecodeError has another base in each version
        raise _refused(path, "something else, or a file cut short", "copy it again") from error
    known = {entry.key: entry.value for entry in model.metadata_props}
    if known.get("format") != _FORMAT:
        raise _refused(path, "another ONNX file", "name a file that dsnet export wrote")
    if known["version"] != _VERSION:
        remedy = "use the version of dsnet that wrote it, or export the training again"
        raise _refused(path, f"format version {known['version']}", remedy)
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    digest.update(known["facts"].encode())
    if digest.hexdigest() != known["sha256"]:
        raise _refused(path, "content that does not fit its SHA-256", "copy it again")
    facts: dict[str, Any] = json.loads(known["facts"])
    return facts, known["sha256"]


class OnnxDetector:
    """A detector in onnxruntime as a function from HU to detections.

    Parameters
    ----------
    path : Path
        As `dsnet.detect.onnx_export.export_onnx` wrote it.
    """

    def __init__(self, path: Path) -> None:
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cpus()
        options.log_severity_level = _ERRORS_ONLY
        providers = runtime.get_available_providers()
        self._session = runtime.InferenceSession(str(path), options, providers=providers)
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, hu: NDArray[np.int16]) -> list[dict[str, NDArray[Any]]]:
        """Return the detections on each image, as `dsnet.detect.model_file.TorchDetector`."""
        values = self._session.run(None, {"hu": hu.astype(np.float32)})
        outputs = dict(zip(self._names, values, strict=True))
        counts = outputs.pop("counts")
        return [
            {name: values[image, :count] for name, values in outputs.items()}
            for image, count in enumerate(counts)
        ]


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise UserError(
            "a model as ONNX",
            expected=f"the package {name}",
            came="none",
            remedy="install the extra: pip install dsnet[onnx]",
        ) from error


def _refused(path: Path, came: str, remedy: str) -> UserError:
    return UserError(path.name, expected="an ONNX file of dsnet", came=came, remedy=remedy)
