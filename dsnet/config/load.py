"""The whole configuration, and how it is read."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from pydantic import Field, ValidationError

from dsnet.config import EXTERNAL, Section, explain
from dsnet.config.cohort import (
    Annotations,
    Clinical,
    Dxa,
    Exclude,
    Ingest,
    Label,
    Phantom,
    Slices,
    Split,
)
from dsnet.config.detector import Detector, Train
from dsnet.config.evaluate import Baseline, Evaluate, Leakage
from dsnet.config.output import Deidentify, PhiCheck, Report
from dsnet.errors import UserError

FOLDERS = ("cohort", "results", "private", "external")
"""Keys that name folders of this machine."""

_OWN = ("results", "private")
"""Folders in which each external cohort has one of its own."""

ExternalName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Config(Section):
    """Everything, in the order of the pipeline."""

    cohort: Path
    """Folder with dicom/, dxa.csv and annotations/; see README. The demo's is made by the workflow.
    """
    results: Path = Path("results")
    """Where everything goes that the workflow makes. One folder per cohort."""
    private: Path = Path("data/private")
    """Key of the pseudonyms and the map back to identities. Never shared, never in git or DVC."""
    external: dict[ExternalName, Path] = Field(default_factory=dict)
    """Cohorts of other hospitals, as {north: /data/north}: tested whole with the detectors trained
    here, never trained on; their results and keys lie in external/NAME below the two folders above
    (docs/statistics.md).
    """
    phantom: Phantom = Phantom()
    ingest: Ingest = Ingest()
    annotations: Annotations = Annotations()
    exclude: Exclude = Exclude()
    dxa: Dxa = Dxa()
    clinical: Clinical = Clinical()
    label: Label = Label()
    split: Split = Split()
    slices: Slices = Slices()
    detector: Detector = Detector()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    baseline: Baseline = Baseline()
    leakage: Leakage = Leakage()
    report: Report = Report()
    deidentify: Deidentify = Deidentify()
    phi_check: PhiCheck = PhiCheck()

    @classmethod
    def sections(cls) -> list[str]:
        """Return the names of the sections, without the folders."""
        return [name for name in cls.model_fields if name not in FOLDERS]

    def of_external(self, name: str) -> "Config":
        """Return the config of an external cohort: its own folders, and everything else alike."""
        folders = {folder: getattr(self, folder) / EXTERNAL / name for folder in _OWN}
        cohort = self.external[name]
        return self.model_copy(update={**folders, "cohort": cohort, "external": {}})

    def of_results(self, folder: Path | None) -> "Config":
        """Return the config whose results lie in `folder`: that of an external cohort, or this."""
        for name in self.external:
            if folder and folder.resolve() == (self.results / EXTERNAL / name).resolve():
                return self.of_external(name)
        return self


DEMO = Path("config", "config.yaml")
"""The demo's config: complete, and tracked."""

LOCAL = Path("config", "local.yaml")
"""A user's own settings above the demo's; written by ``dsnet init``, and not of the project."""


ConfigFile = Annotated[
    list[Path],
    typer.Option(
        "--configfile",
        help="As for snakemake: above config/config.yaml and config/local.yaml, and a later one "
        "above an earlier one.",
    ),
]
"""An option of commands."""

CONFIG: Final[list[Path]] = []
"""Its default: no file."""


def config_files(folder: Path = Path()) -> list[Path]:
    """Return the config files that are read without being named, in their order."""
    return [folder / DEMO, *([folder / LOCAL] if (folder / LOCAL).exists() else [])]


def check_yaml(path: Path) -> None:
    """Make sure that a config file can be read; Snakemake, which reads it, names no line.

    Raises
    ------
    UserError
        Naming file and line.
    """
    try:
        if isinstance(yaml.safe_load(path.read_text(encoding="utf-8-sig")), dict):
            return
        line, came = 1, "no key at all"
    except OSError:
        line, came = 1, "a file that cannot be opened" if path.exists() else "no file"
    except UnicodeDecodeError as error:
        line, came = error.object[: error.start].count(b"\n") + 1, "bytes that are not UTF-8"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        came = "a tab, which YAML does not allow" if "\\t" in str(error) else str(error.problem)
    except yaml.reader.ReaderError as error:
        line, came = 1, f"a character that YAML does not allow, at offset {error.position}"
    raise UserError(
        f"{path.as_posix()} line {line}",
        expected="YAML: keys with values, each level indented by the same number of blanks",
        came=came,
        remedy="correct the file",
    )


def load(values: Mapping[str, Any], files: Sequence[Path] = ()) -> Config:
    """Return the checked configuration.

    Parameters
    ----------
    values : mapping
        As Snakemake has merged them.
    files : sequence of Path
        Where they come from, the last one first to be asked.

    Raises
    ------
    UserError
        Naming every wrong key, its value and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(
            "config",
            expected="the keys and values of config/config.yaml",
            came=explain(error, Config, partial(_set_in, files)),
            remedy="correct the config file or --config",
        ) from error


def read_config(files: list[Path], results: Path | None = None) -> Config:
    """Return the config as the workflow reads it.

    Parameters
    ----------
    files : list of Path
        As of ``--configfile``, above those of `config_files`.
    results : Path, optional
        A results folder; if it is of an external cohort, the config is that cohort's.

    Raises
    ------
    UserError
        If a file is missing or wrong.
    """
    # Snakemake's own reading and merging, so that both always see the same config.
    from snakemake.common.configfile import load_configfile  # noqa: PLC0415 - slow to import
    from snakemake.utils import update_config  # noqa: PLC0415 - as above

    values: dict[str, object] = {}
    every = [*config_files(), *files]
    for path in every:
        if not path.exists():
            raise UserError(
                str(path),
                expected="the config file",
                came="no file",
                remedy="call dsnet in the project's folder, or name one with --configfile",
            )
        check_yaml(path)
        update_config(values, load_configfile(path))
    return load(values, every).of_results(results)


def _set_in(files: Sequence[Path], key: tuple[str | int, ...], value: Any) -> str:
    """Return the last file and its line that set a key, or "" where ``--config`` gave its value."""
    for path in reversed(files):
        try:
            node = yaml.compose(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        line = 0
        for part in key:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = [(name, value) for name, value in pairs if name.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        else:
            if not isinstance(value, Mapping) and yaml.safe_load(yaml.serialize(node)) != value:
                continue
            here = Path.cwd()
            shown = path.relative_to(here) if path.is_relative_to(here) else path
            return f"{shown.as_posix()} line {line}"
    return ""
