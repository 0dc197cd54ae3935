"""A trained detector as ONNX, from HU to boxes, for onnxruntime without torch.

The graph of one image is the body of a Loop over images: torchvision's second stage is such a loop
itself, which a traced graph would freeze at one length. Windows and normalisation are in the graph;
the facts of the model file and the SHA-256 of graph and facts are in its metadata.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from dsnet.config.detector import Window
from dsnet.detect.dataset import windowed
from dsnet.detect.inference import freeze
from dsnet.detect.model_file import FORMAT, FORMAT_VERSION
from dsnet.errors import UserError
from dsnet.files import whole

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
        network = self.network
        height, width = size = hu.shape[0], hu.shape[1]
        step = network.transform.size_divisible
        batch = network.transform.normalize(windowed(hu, self._windows)[None])
        batch = functional.pad(batch, (0, -width % step, 0, -height % step))
        features = network.backbone(batch)
        if isinstance(features, Tensor):
            features = {"0": features}
        proposals, _ = network.rpn(ImageList(batch, [size]), features)
        heads = network.roi_heads
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
