"""One detector on an external cohort: ``python -m dsnet.evaluate.external``.

Nothing is fitted here: weights, temperature and operating point are those of the internal cohort.
"""

from pathlib import Path
from typing import Any

from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.provenance import read_grid, read_provenance
from dsnet.evaluate.scene import read_scenes
from dsnet.evaluate.step import SUBSET, metrics_of
from dsnet.files import read_json, sha256, write_json
from dsnet.step import run


def evaluate_external(
    *,
    predictions: Path,
    models: Path,
    internal: Path,
    boxes: Path,
    split: Path,
    digest: Path,
    metrics: Path,
    params: Evaluate,
) -> None:
    """Evaluate a detector on all patients of an external cohort.

    Parameters
    ----------
    predictions : Path
        Folder of ``seed{seed}/test.parquet``, `schemas.PREDICTIONS` on the external cohort.
    models : Path
        Folder of ``seed{seed}/weights.pt`` and its ``manifest.json``.
    internal : Path
        Metrics of the same detector on the internal test subset, as `dsnet.evaluate.step` writes
        them: seeds, temperatures and operating point are taken from there.
    boxes, split, digest : Path
        `schemas.SLICES`, `schemas.SPLIT` and ``slices.json`` of the external cohort.
    metrics : Path
        Written: JSON in the same form, and ``external`` with what was taken over.
    params : Evaluate

    Raises
    ------
    UserError
        If a training is not the one that the internal metrics are of, or has another grid.
    """
    given = read_json(internal, "seeds", "thresholds", "calibration", "slices_sha256", "cohort")
    frozen = [
        _frozen(models / f"seed{seed}", given["slices_sha256"], digest) for seed in given["seeds"]
    ]
    files = [predictions / f"seed{seed}" / f"{SUBSET}.parquet" for seed in given["seeds"]]
    point = {name: given["thresholds"][name] for name in ("iou", "score", "patient_label")}
    content = metrics_of(
        read_scenes(files, boxes, split, SUBSET),
        given["seeds"],
        params.model_copy(update=point),
        given["calibration"]["temperature_by_seed"],
    )
    taken = {"internal_cohort": given["cohort"], "weights_sha256": frozen, **read_grid(digest)}
    write_json(metrics, {**read_provenance(digest, split), "external": taken, **content})


def _frozen(training: Path, slices_sha256: str, digest: Path) -> str:
    """Return the SHA-256 of a training's weights; see `evaluate_external`."""
    data: dict[str, Any] = read_json(training / "manifest.json", "data")["data"]
    grid = read_grid(digest)
    if data["digest_sha256"] != slices_sha256:
        raise UserError(
            f"{training.name}/manifest.json",
            expected="the training that the internal metrics are of",
            came="one on other slices",
            remedy="run the workflow, which makes both",
        )
    if any(data[name] != value for name, value in grid.items()):
        raise UserError(
            digest.as_posix(),
            expected=f"the grid of the training, {data['size_px']} px of {data['pixel_mm']} mm",
            came=f"{grid['size_px']} px of {grid['pixel_mm']} mm",
            remedy="run the workflow, which stores all cohorts on one grid",
        )
    return sha256(training / "weights.pt")


if __name__ == "__main__":
    run(evaluate_external)
