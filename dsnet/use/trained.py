"""A trained detector with all that its use needs to know: reading it, exporting it, its card."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dsnet import __version__
from dsnet.config import Section, explain
from dsnet.config.cohort import Exclude, Ingest
from dsnet.config.detector import Detector, Variant
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.config.load import Config
from dsnet.errors import UserError
from dsnet.evaluate.calibration import fit_temperature
from dsnet.evaluate.grading import localised_boxes
from dsnet.evaluate.provenance import Grid
from dsnet.evaluate.scene import read_scenes
from dsnet.files import read_json, sha256, write_text
from dsnet.processes import cpus
from dsnet.results import Results

NOT_A_DEVICE = "Not a medical device: for research only, never for the care of a patient."

ONNX = ".onnx"

Detections = list[dict[str, NDArray[Any]]]
Detect = Callable[[NDArray[np.int16]], Detections]
"""From HU, int16 (images, size_px, size_px), to ``boxes``, ``labels``, ``scores`` and
``probabilities`` of each image, as `dsnet.detect.export.TorchDetector` returns them."""


class Facts(Section):
    """What a model file says of itself, beside its weights."""

    name: str
    """``backbone/attention/seedN``."""
    dsnet: str = __version__
    """The version that wrote the file."""
    variant: Variant
    detector: Detector
    """With anchors, windows and the options of attention."""
    train: dict[str, Any]
    """How it was trained."""
    size_px: int
    """Rows and columns of the grid."""
    pixel_mm: float
    cohort: str
    """Name of the training cohort."""
    synthetic: bool
    leaky: bool
    boxes_per_class: dict[str, int] | None = None
    """Annotated boxes of the training cohort, all subsets; null where they are not known."""
    temperature: float | None = None
    """Divides the logits of the three classes; null where none was fitted."""
    temperature_boxes: int = 0
    """Localised boxes of the validation subset that it was fitted on."""
    evaluate: Evaluate = Evaluate()
    """The operating point, and how boxes are pooled."""
    ingest: Ingest = Ingest()
    exclude: Exclude = Exclude()
    """What training would have refused."""
    baseline: Baseline = Baseline()
    """Where HU are measured."""
    result: dict[str, Any]
    """Of the training: epoch that counts, parameters, gammas."""
    start: dict[str, Any]
    """Where its first weights came from."""
    versions: dict[str, str]
    commit: str
    metrics: dict[str, Any] | None = None
    """On the test subset of the training cohort: value and bounds of each statistic."""
    licence: str = "Apache-2.0"
    notice: str = NOT_A_DEVICE

    @property
    def grid(self) -> Grid:
        """The in-plane grid that the network sees."""
        return Grid(size_px=self.size_px, pixel_mm=self.pixel_mm)


@dataclass(frozen=True)
class Model:
    """A trained detector, ready for `dsnet.predict`; made by `load_model`.

    Attributes
    ----------
    facts : Facts
    sha256 : str
        Of the exported file's content, or of a run folder's ``weights.pt``.
    source : Path
        Where it was read.
    """

    facts: Facts
    sha256: str
    source: Path

    @cached_property
    def detect(self) -> Detect:
        """The network as a function from HU to detections; loaded when it is first asked for."""
        facts = self.facts
        if self.source.suffix == ONNX:
            return OnnxDetector(self.source)
        from dsnet.detect.export import TorchDetector  # noqa: PLC0415 - torch, here alone

        return TorchDetector(self.network(), facts.detector.windows)

    def network(self) -> Any:
        """Return the detector as torch has it, with its weights; not of an ONNX file."""
        from dsnet.detect.export import read_model  # noqa: PLC0415 - torch, where it is asked for
        from dsnet.detect.model import build  # noqa: PLC0415 - as above
        from dsnet.detect.weights import load_trained  # noqa: PLC0415 - as above

        network = build(self.facts.detector, self.facts.variant, **self.facts.grid)
        if self.source.is_dir():
            load_trained(network, self.source / "weights.pt")
        else:
            network.load_state_dict(read_model(self.source)[1])
        return network


def load_model(model: Path | str, config: Config | None = None) -> Model:
    """Return a trained detector.

    Parameters
    ----------
    model : Path or str
        A run folder (``results/models/resnet50/ds/seed0``), or a file that ``dsnet export`` wrote.
    config : Config, optional
        For a run folder: exclusion criteria, operating point and where HU are measured; the
        defaults where it is not given. A model file has its own.

    Raises
    ------
    UserError
        If there is no such model, or it is not what it should be.

    Examples
    --------
    >>> import dsnet
    >>> model = dsnet.load_model("results/models/resnet50/ds/seed0")
    >>> model.facts.name, model.facts.grid
    ('resnet50/ds/seed0', {'size_px': 64, 'pixel_mm': 4.0})
    """
    path = Path(model)
    if path.is_dir():
        return Model(_facts_of_run(path, config), sha256(_weights(path)), path)
    if path.suffix == ONNX:
        facts, digest = read_onnx(path)
    else:
        from dsnet.detect.export import read_model  # noqa: PLC0415 - torch, for a model alone

        facts, _, digest = read_model(path)
    try:
        return Model(Facts.model_validate(facts), digest, path)
    except ValidationError as error:
        raise UserError(
            path.name,
            expected="the facts of a model, as this version writes them",
            came=explain(error, Facts),
            remedy="use the version of dsnet that wrote it, or export the training again",
        ) from error


def export_model(run: Path, output: Path, config: Config, *, licence: str | None = None) -> Model:
    """Write the training of a run folder as one file, with its model card beside it.

    Parameters
    ----------
    run : Path
        ``results/models/BACKBONE/ATTENTION/seedN``.
    output : Path
        The model file; one that ends in ``.onnx`` is written as ONNX. The card goes beside it, with
        the suffix ``.md``.
    config : Config
        Exclusion criteria, operating point and where HU are measured.
    licence : str, optional
        Of the weights; that of dsnet where it is not given.

    Raises
    ------
    UserError
        If `run` is no run folder.
    """
    facts = _facts_of_run(run, config)
    if licence:
        facts = facts.model_copy(update={"licence": licence})
    if output.suffix == ONNX:
        from dsnet.detect.export import export_onnx  # noqa: PLC0415 - torch and an extra

        network = Model(facts, "", run).network()
        windows = facts.detector.windows
        digest = export_onnx(output, facts.model_dump(mode="json"), network, windows)
    else:
        from dsnet.detect.export import write_model  # noqa: PLC0415 - torch, for a model alone
        from dsnet.detect.weights import read_state  # noqa: PLC0415 - as above

        digest = write_model(output, facts.model_dump(mode="json"), read_state(_weights(run)))
    model = Model(facts, digest, output)
    write_text(output.with_suffix(".md"), model_card(model))
    return model


def _weights(run: Path) -> Path:
    path = run / "weights.pt"
    if not path.is_file() or not (run / "manifest.json").is_file():
        raise UserError(
            str(run),
            expected="a run folder with weights.pt and manifest.json, or an exported model file",
            came="a folder without them" if run.is_dir() else "no such folder",
            remedy="name a folder such as results/models/resnet50/ds/seed0",
        )
    return path


def _facts_of_run(run: Path, config: Config | None) -> Facts:
    """Return the facts of a run folder, with what its results folder adds if it is there."""
    _weights(run)
    manifest = read_json(run / "manifest.json", "settings", "data", "start", "result", "versions")
    settings, data = manifest["settings"], manifest["data"]
    variant = Variant.model_validate(settings["variant"])
    detector = Detector.model_validate(settings["detector"])
    if detector.weights not in ("none", "paper", "imagenet", "coco"):  # a path may name a person
        detector = detector.model_copy(update={"weights": Path(detector.weights).name})
    sections: Any = config or _DEFAULTS
    name = f"{variant.backbone}/{variant.attention}/seed{settings['seed']}"
    return Facts(
        name=name,
        variant=variant,
        detector=detector,
        train=settings["train"],
        result=manifest["result"],
        start=manifest["start"],
        versions=manifest["versions"],
        commit=manifest["commit"],
        **{key: data[key] for key in ("cohort", "synthetic", "leaky", "size_px", "pixel_mm")},
        **{key: getattr(sections, key) for key in ("evaluate", "ingest", "exclude", "baseline")},
        **_beside(run, name, data["digest_sha256"], sections.evaluate),
    )


_DEFAULTS = Config(cohort=Path("cohort"))


def _beside(run: Path, name: str, slices_sha256: str, params: Evaluate) -> dict[str, Any]:
    """Return what the results folder knows of a training, where the run folder still lies in it."""
    if len(run.resolve().parents) < 4 or run.resolve().parents[2].name != "models":
        return {}
    results = Results(run.resolve().parents[3])
    if not (results.cohort / "slices.json").exists() or results.slices_sha256 != slices_sha256:
        return {}
    known: dict[str, Any] = {"boxes_per_class": results.slices["labels_per_class"]}
    validation = results.folder / "predictions" / name / "validation.parquet"
    if validation.exists():
        tables = results.cohort / "slices.csv", results.cohort / "split.csv"
        (scene,) = read_scenes([validation], *tables, "validation")
        boxes = localised_boxes(scene, iou=params.iou, score=params.score)
        known |= {"temperature": fit_temperature(boxes), "temperature_boxes": len(boxes.truth)}
    variant = name.rpartition("/")[0]
    if (results.folder / "metrics" / f"{variant}.json").exists():
        metrics = results.metrics(variant)["metrics"]
        known["metrics"] = {key: metrics[key] for key in _ON_CARD if key in metrics}
    return known


_ON_CARD = {
    "map": "COCO AP at IoU 0.5, mean over the classes",
    "box_ap50": "COCO AP at IoU 0.5 of the box alone",
    "recall": "Recall, class right",
    "accuracy": "Acc, TP / (TP + FP + FN)",
    "localised_accuracy": "Class right, of localised boxes",
    "level_accuracy": "Class right, of levels",
    "patient_accuracy": "Class right, of patients",
    "patient_macro_auc": "Macro AUC, of patients",
}


def model_card(model: Model) -> str:
    """Return the model card as Markdown, made of nothing but the facts of the model."""
    return render("card.md.jinja", facts=model.facts, sha256=model.sha256, statistics=_ON_CARD)


def render(template: str, **values: Any) -> str:
    """Return a template with values; a name without a value is an error, HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dsnet.use"),
        autoescape=jinja2.select_autoescape(("html.jinja",), default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


_FORMAT, _VERSION = "dsnet model", "2"  # as dsnet.detect.export, which imports torch
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
        As `dsnet.detect.export.export_onnx` wrote it.
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
        """Return the detections on each image, as `dsnet.detect.export.TorchDetector`."""
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
