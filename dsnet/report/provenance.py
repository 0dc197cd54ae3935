"""Where the numbers come from: the manifest of every training, and the config."""

from dataclasses import dataclass
from typing import Any

from dsnet.config.load import FOLDERS, Config
from dsnet.errors import UserError
from dsnet.results import Json, Results

PUBLISHED = ("none", "paper", "imagenet", "coco")
"""Values of ``detector.weights`` that are no path."""


@dataclass(frozen=True)
class Record:
    """One training.

    Attributes
    ----------
    name : str
        ``resnet50/ds, seed 0``.
    commit, device, precision, data : str
        ``data`` is the SHA-256 of the slice store's digest.
    current : bool
        Whether it was trained on the slices at hand.
    epoch, parameters : int
    minutes : float
        Wall time.
    versions : dict of str to str
    seed : int
    settings : dict
        Config of detector and training.
    grid : dict
        ``size_px`` and ``pixel_mm`` of the slices.
    """

    name: str
    commit: str
    device: str
    precision: str
    data: str
    current: bool
    epoch: int
    parameters: int
    minutes: float
    versions: dict[str, str]
    seed: int
    settings: Json
    grid: Json


def read_records(results: Results) -> list[Record]:
    """Return the record of every training, by name.

    Raises
    ------
    UserError
        If one is not what training writes.
    """
    records = []
    here = results.slices_sha256 if (results.cohort / "slices.json").exists() else ""
    for run in results.runs():
        name = f"models/{run}/manifest.json"
        try:
            records.append(_record(results.json(name), here))
        except KeyError as error:
            raise UserError(
                name,
                expected="the record that training writes",
                came=f"one without {error}",
                remedy="delete its folder and run the workflow, or bring the right one back",
            ) from error
    return records


def settings(config: Config) -> Json:
    """Return the config as JSON values, without the folders and files of this machine.

    A page that travels does not show them.
    """
    values = config.model_dump(mode="json", exclude=set(FOLDERS))
    # That a file was named is what matters, not where it lies.
    values["split"]["file"] = values["split"]["file"] and "a file"
    if values["detector"]["weights"] not in PUBLISHED:
        values["detector"]["weights"] = "a file"
    return values


def flat(values: Json, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as dotted keys and their values, in order.

    Examples
    --------
    >>> flat({"split": {"seed": 0, "file": None}})
    [('split.seed', '0'), ('split.file', 'null')]
    """
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _plain(value)))
    return pairs


def _record(manifest: Json, slices_sha256: str) -> Record:
    variant, machine, result = (
        manifest["settings"]["variant"],
        manifest["machine"],
        manifest["result"],
    )
    return Record(
        name=f"{variant['backbone']}/{variant['attention']}, seed {manifest['settings']['seed']}",
        commit=manifest["commit"],
        device=f"{machine['device']} ({machine['name']}, {machine['threads']} threads)",
        precision=machine["precision"],
        data=manifest["data"]["digest_sha256"],
        current=manifest["data"]["digest_sha256"] == slices_sha256,
        epoch=result["epoch"],
        parameters=result["parameters"],
        minutes=result["seconds"] / 60,
        versions=manifest["versions"],
        seed=manifest["settings"]["seed"],
        settings={name: manifest["settings"][name] for name in ("detector", "train")},
        grid={name: manifest["data"][name] for name in ("size_px", "pixel_mm")},
    )


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return str(value)
