"""The whole configuration, and how it is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dsnet.config.cohort import (
    Annotations,
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
from dsnet.config.section import Section, explain
from dsnet.errors import UserError


class Config(Section):
    """Everything, in the order of the pipeline."""

    cohort: Path
    """Folder with dicom/, dxa.csv and annotations/; see README. The demo's is made by the workflow.
    """
    results: Path = Path("results")
    """Where everything goes that the workflow makes. One folder per cohort."""
    private: Path = Path("data/private")
    """Key of the pseudonyms and the map back to identities. Never shared, never in git or DVC."""
    phantom: Phantom = Phantom()
    ingest: Ingest = Ingest()
    annotations: Annotations = Annotations()
    exclude: Exclude = Exclude()
    dxa: Dxa = Dxa()
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
        """Return the names of the sections, without the three folders."""
        return [name for name in cls.model_fields if name not in ("cohort", "results", "private")]


def load(values: Mapping[str, Any]) -> Config:
    """Return the checked configuration.

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
            came=explain(error, Config),
            remedy="correct the config file or --config",
        ) from error
