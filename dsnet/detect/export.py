"""A trained detector in one file of its own: of torch, or as ONNX for onnxruntime without torch.

The file of torch is an archive of two plain values: the facts as JSON text, and the state dict. It
is loaded with ``weights_only=True``, so that nothing in it is executed, and it holds the SHA-256 of
both. As ONNX, the graph of one image is the body of a Loop over images: torchvision's second stage
is such a loop itself, which a traced graph would freeze at one length. Windows and normalisation
are in the graph; the facts and the SHA-256 of graph and facts are in its metadata.
"""

import hashlib
import json
import pickle
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from dsnet.config.detector import Window
from dsnet.detect.dataset import apply_windows
from dsnet.detect.device import device
from dsnet.detect.inference import detect, freeze
from dsnet.errors import UserError
from dsnet.files import whole

FORMAT = "dsnet model"
FORMAT_VERSION = 2
"""Raised when an older program could no longer read a file, or read it wrongly."""

Arrays = dict[str, NDArray[Any]]


def write_model(path: Path, facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Write a model file, and return the SHA-256 that it holds.

    Parameters
    ----------
    path : Path
    facts : mapping
        JSON values.
    state : mapping of str to Tensor
        The state dict of the whole detector.
    """
    text = json.dumps(dict(facts), allow_nan=False)
    digest = content_sha256(text, state)
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "facts": text,
        "weights": dict(state),
        "sha256": digest,
    }
    with whole(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)
    return digest


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return the facts, the state dict and the SHA-256 of a model file.

    Raises
    ------
    UserError
        If it is no model file, one of another format version, or does not hold what was written.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise refused(path, "no file", "correct the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise refused(path, "something else, or a file cut short", "copy it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise refused(path, "another file of torch", "name a file that dsnet export wrote")
    if content.get("version") != FORMAT_VERSION:
        remedy = "use the version of dsnet that wrote it, or export the training again"
        raise refused(path, f"format version {content.get('version')}", remedy)
    facts, weights = content["facts"], content["weights"]
    if content_sha256(facts, weights) != content["sha256"]:
        raise refused(path, "content that does not fit its SHA-256", "copy it again")
    return json.loads(facts), weights, content["sha256"]


def content_sha256(facts: str, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the facts and of each tensor's name, type, shape and values."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def refused(path: Path, came: str, remedy: str) -> UserError:
    """Return the error of a model file that is not used; its name alone is printed."""
    expected = f"a model file of dsnet, format version {FORMAT_VERSION}"
    return UserError(path.name, expected=expected, came=came, remedy=remedy)


class TorchDetector:
    """A trained network as a function from HU to detections, on the GPU if there is one.

    Parameters
    ----------
    network : FasterRCNN
        With its trained weights; it is frozen, and cannot be trained further.
    windows : sequence of Window
        As in training.
    """

    def __init__(self, network: FasterRCNN, windows: Sequence[Window]) -> None:
        self._network = freeze(network.to(device()))
        self._windows = tuple(windows)

    def __call__(self, hu: NDArray[np.int16]) -> list[Arrays]:
        """Return the detections on each image.

        Parameters
        ----------
        hu : int16 (images, size_px, size_px)
            On the grid of the training.

        Returns
        -------
        list of dict
            ``boxes`` float32 (detections, 4), edges in pixels of the grid; ``labels`` int64, from
            1; ``scores`` float32; ``probabilities`` float32 (detections, 4), the background first.
        """
        detections = detect(self._network, [apply_windows(one, self._windows) for one in hu])
        return [{name: values.numpy() for name, values in one.items()} for one in detections]


OUTPUTS = ("boxes", "labels", "scores", "probabilities")
COUNTS = "counts"
_OPSET = 17
_EXAMPLE_HU = 1000.0


class OneImage(nn.Module):
    """A detector as a function of one image in HU.

    Parameters
    ----------
    network : FasterRCNN
        As `dsnet.detect.inference.freeze` returns it.
    windows : sequence of Window
    """

    def __init__(self, network: FasterRCNN, windows: Sequence[Window]) -> None:
        super().__init__()
        self.network = network
        self._windows = tuple(windows)

    def forward(self, hu: Tensor) -> tuple[Tensor, ...]:
        """Return `OUTPUTS` and `COUNTS` of one image, float32 (size_px, size_px).

        The outputs are those of `Heads.detect`, filled with zeros to the largest number of
        detections; the count, int64 (), says how many there are.
        """
        size = hu.shape[0], hu.shape[1]
        images = apply_windows(hu, self._windows)[None]
        features, proposals, _ = self.network.propose(images, [size])
        heads = self.network.roi_heads
        pooled = heads.box_head(heads.box_roi_pool(features, proposals, [size]))
        logits, deltas = heads.box_predictor(pooled)
        boxes = heads.box_coder.decode_single(deltas, proposals[0])
        boxes = boxes.reshape(-1, logits.shape[1], 4)
        detections = heads.detect_one(boxes, logits.softmax(dim=1), size)
        count = torch.ones_like(detections["labels"]).sum()  # which is traced, as len() is not
        most = heads.detections_per_img
        filled = []
        for name in OUTPUTS:
            values = detections[name]
            empty = values.new_zeros(most, *values.shape[1:])
            filled.append(torch.cat([values, empty])[:most])
        return (*filled, count)


def export_onnx(
    path: Path, facts: Mapping[str, Any], network: FasterRCNN, windows: Sequence[Window]
) -> str:
    """Write a trained network as ONNX, and return the SHA-256 of its graph and facts.

    The input is ``hu``, float32 (images, size_px, size_px); the outputs are `OUTPUTS`, each
    (images, most detections of an image, ...), and `COUNTS`, int64 (images,): the first so many of
    an image are its detections, the best first, and the others are 0.

    Parameters
    ----------
    path : Path
    facts : mapping
        JSON values, which go into the metadata.
    network : FasterRCNN
        With its trained weights.
    windows : sequence of Window

    Raises
    ------
    UserError
        If the package onnx is not installed.
    """
    try:
        onnx = import_module("onnx")  # an extra
    except ImportError as error:
        raise UserError(
            "dsnet export",
            expected="the package onnx",
            came="none",
            remedy="install the extra: pip install dsnet[onnx]",
        ) from error
    size_px = network.transform.min_size[0]
    # A gradient of HU, so that the traced image has proposals.
    example = torch.linspace(-_EXAMPLE_HU, _EXAMPLE_HU, size_px * size_px).view(size_px, size_px)
    module = OneImage(freeze(network.cpu()), windows).eval()
    text = json.dumps(dict(facts), allow_nan=False)
    with whole(path) as temporary:
        with warnings.catch_warnings(), torch.no_grad():
            # The tracer warns of each Python number; those here follow from the image's size alone.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                temporary,
                input_names=["image"],
                output_names=[f"image_{name}" for name in (*OUTPUTS, COUNTS)],
                opset_version=_OPSET,
                dynamo=False,
            )
        model = onnx.load(temporary)
        most = network.roi_heads.detections_per_img
        model.graph.CopyFrom(_over_images(onnx, model.graph, size_px, most))
        onnx.checker.check_model(model)
        hashed = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
        hashed.update(text.encode())
        digest = hashed.hexdigest()
        values = {"format": FORMAT, "version": str(FORMAT_VERSION), "facts": text, "sha256": digest}
        onnx.helper.set_model_props(model, values)
        onnx.save(model, temporary)
    return digest


def _over_images(onnx: Any, one: Any, size_px: int, most: int) -> Any:
    """Return the graph of any number of images, by that of one, which becomes its loop's body.

    Weights stay inside the body: outside it, onnxruntime took a tenth more time.
    """
    helper, kinds = onnx.helper, onnx.TensorProto
    number, unused, again = (
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in {"number": kinds.INT64, "go": kinds.BOOL, "go_on": kinds.BOOL}.items()
    )
    body = onnx.GraphProto()
    body.CopyFrom(one)
    body.name = "image"
    body.ClearField("input")
    body.input.extend([number, unused])
    body.node.insert(0, helper.make_node("Gather", ["hu", "number"], ["image"]))
    body.node.append(helper.make_node("Identity", ["go"], ["go_on"]))
    body.ClearField("output")
    body.output.extend([again, *one.output])
    shapes = {"boxes": [most, 4], "probabilities": [most, 4], COUNTS: []}
    outputs = [
        helper.make_tensor_value_info(
            name, output.type.tensor_type.elem_type, ["images", *shapes.get(name, [most])]
        )
        for name, output in zip((*OUTPUTS, COUNTS), one.output, strict=True)
    ]
    loop = [
        helper.make_node("Shape", ["hu"], ["images"], start=0, end=1),
        helper.make_node("Loop", ["images", ""], [output.name for output in outputs], body=body),
    ]
    hu = helper.make_tensor_value_info("hu", kinds.FLOAT, ["images", size_px, size_px])
    return helper.make_graph(loop, "images", [hu], outputs)
