"""Model files: what they hold, what is refused, and that they detect as their run folder does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.made_study import DETECTOR, write_run, write_study
from typer.testing import CliRunner

import dsnet
from dsnet.cli import app
from dsnet.config.detector import Variant
from dsnet.config.load import Config
from dsnet.detect.export import read_model, write_model
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.use.trained import NOT_A_DEVICE, export_model

pytestmark = pytest.mark.slow

VARIANT = Variant(backbone="mobilenet_v2", attention="ds")
CONFIG = Config.model_validate(
    {"cohort": "c", "exclude": {"criteria": {"contrast_enhanced": {"enabled": False}}}}
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder alone, as training leaves it."""
    return write_run(tmp_path_factory.mktemp("results") / "run", VARIANT, seed=1)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.dsnet"
    export_model(run, path, CONFIG, licence="CC BY 4.0")
    return path


def test_a_model_file_detects_as_its_run_folder_does(run: Path, exported: Path) -> None:
    hu = np.random.default_rng(0).integers(-200, 900, (2, 64, 64)).astype(np.int16)
    of_run, of_file = (dsnet.load_model(path).detect(hu) for path in (run, exported))
    for one, other in zip(of_run, of_file, strict=True):
        assert len(one["scores"])
        for name, values in one.items():
            assert np.array_equal(values, other[name])


def test_a_model_file_holds_its_settings_and_a_run_folder_takes_the_config(
    run: Path, exported: Path
) -> None:
    facts = dsnet.load_model(exported).facts
    assert facts.name == "mobilenet_v2/ds/seed1"
    assert facts.grid == {"size_px": 64, "pixel_mm": 4.0}
    assert facts.detector == DETECTOR
    assert facts.licence == "CC BY 4.0"
    assert not facts.exclude.criteria.contrast_enhanced.enabled
    assert dsnet.load_model(run).facts.exclude.criteria.contrast_enhanced.enabled
    assert dsnet.load_model(run, CONFIG).facts.exclude == CONFIG.exclude


def test_the_card_states_what_the_model_is(exported: Path) -> None:
    card = exported.with_suffix(".md").read_text()
    for text in (
        NOT_A_DEVICE,
        "mobilenet_v2, attention ds",
        "made (synthetic)",
        dsnet.load_model(exported).sha256,
        "CC BY 4.0",
        "not calibrated",
        "never seen a slice without L1 to L4",
    ):
        assert text in card


def test_the_path_of_own_start_weights_stays_out_of_the_file(run: Path, tmp_path: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["settings"]["detector"]["weights"] = "/home/quibbleworth/best.pt"
    own = tmp_path / "run"
    own.mkdir()
    (own / "weights.pt").write_bytes((run / "weights.pt").read_bytes())
    write_json(own / "manifest.json", manifest)
    export_model(own, tmp_path / "model.dsnet", CONFIG)
    assert b"quibbleworth" not in (tmp_path / "model.dsnet").read_bytes()
    assert dsnet.load_model(tmp_path / "model.dsnet").facts.detector.weights == "best.pt"


def damaged(exported: Path, path: Path, **changes: Any) -> Path:
    content = torch.load(exported, weights_only=True)
    torch.save({**content, **changes}, path)
    return path


def test_what_is_no_whole_model_file_is_refused(exported: Path, tmp_path: Path) -> None:
    facts, weights, _ = read_model(exported)
    other = {**weights, "rpn.head.cls_logits.bias": weights["rpn.head.cls_logits.bias"] + 1}
    (tmp_path / "text").write_text("x")
    (tmp_path / "cut").write_bytes(exported.read_bytes()[:5000])
    torch.save({"a": 1}, tmp_path / "torch")
    write_model(tmp_path / "facts", {**facts, "unknown_key": 1}, weights)
    cases = {
        "text": "something else",
        "cut": "something else",
        "torch": "another file of torch",
        "missing": "no file",
        "facts": "unknown key unknown_key",
        damaged(exported, tmp_path / "weights", weights=other).name: "does not fit its SHA-256",
        damaged(exported, tmp_path / "version", version=99).name: "format version 99",
    }
    for name, came in cases.items():
        with pytest.raises(UserError, match=came):
            dsnet.load_model(tmp_path / name)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without them"):
        dsnet.load_model(tmp_path)


def test_the_command_line_exports_and_predicts(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("cohort: c\n")
    monkeypatch.chdir(tmp_path)
    study = write_study(tmp_path / "study", {0.0: 200}, ContrastBolusAgent="Iomeron")
    cli = CliRunner()
    written = cli.invoke(app, ["export", str(run), "--output", "model.dsnet"])
    assert written.exit_code == 0, written.output
    refused = cli.invoke(app, ["predict", "model.dsnet", str(study), "--output", "out"])
    assert refused.exit_code == 0, refused.output
    assert "0 of 1 files predicted" in refused.output
    assert "E08 contrast_enhanced" in refused.output
    forced = cli.invoke(app, ["predict", "model.dsnet", str(study), "--output", "out", "--force"])
    assert "1 of 1 files predicted" in forced.output
    assert "FORCED" in forced.output
    assert (tmp_path / "out" / "index.html").is_file()


def test_public_names_load_lazily() -> None:
    for name in dsnet.__all__:
        assert getattr(dsnet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        _ = dsnet.prediction
