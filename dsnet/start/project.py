"""A project of one's own under DVC: what ``dsnet init`` lays out, and ``dsnet adopt`` checks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from dsnet.config.load import DEMO, LOCAL
from dsnet.errors import UserError
from dsnet.files import write_text
from dsnet.schemas import HISTORIES, REGIONS

PAPER: Final = Path("config", "paper.yaml")
DVC: Final = Path("own", "dvc.yaml")
RESULTS: Final = "results-own"

_TABLES: Final = {
    "dxa.csv": ("patient_id", "exam_date", *(f"{region}_t_score" for region in REGIONS)),
    "clinical.csv": ("patient_id", "sex", "age", "height_cm", "weight_kg", *HISTORIES),
}

_CONFIG: Final = """\
# Your own settings: snakemake, dsnet and dvc read them above those of config.yaml, which stays as
# it is. Any key of config.yaml may be set here. The file is not part of the project; in a
# repository of your own, commit it together with own/dvc.yaml and own/dvc.lock.
"""

_STAGES: Final = """\
# Your own cohort under DVC: dvc repro own/dvc.yaml:pipeline makes Table 1, and
# dvc repro own/dvc.yaml:all everything. Written by dsnet init; as ../dvc.yaml, for the paths of
# ../config/local.yaml.
vars:
  - ../config/local.yaml:cohort,results

"""


def lay_out(folder: Path, *, paper: bool = False, project: Path = Path()) -> Iterator[str]:
    """Make what is missing of a cohort folder, ``config/local.yaml`` and ``own/dvc.yaml``.

    Nothing that is there is changed. In a folder that has no table of its name, ``dxa.csv`` and
    ``clinical.csv`` get their headers.

    Parameters
    ----------
    folder : Path
        The cohort folder.
    paper : bool
        Take over the settings of ``config/paper.yaml``.
    project : Path
        The project's folder.

    Yields
    ------
    str
        What was made, and what to do next, one line at a time.

    Raises
    ------
    UserError
        If there is such a config already, or none of the project.
    """
    local = project / LOCAL
    if not (project / DEMO).exists():
        raise UserError(
            DEMO.as_posix(),
            expected="the project's config",
            came="no file",
            remedy="call dsnet in the project's folder",
        )
    if local.exists():
        raise UserError(
            LOCAL.as_posix(),
            expected="no config of your own yet",
            came="one",
            remedy="set its key cohort to the folder, or move it away",
        )
    for name in ("dicom", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stems = {path.stem.lower() for path in folder.iterdir()}
    for name, columns in _TABLES.items():
        if name.partition(".")[0] not in stems:
            write_text(folder / name, ",".join(columns) + "\n")
    if "cohort" not in stems:
        about = {"name": "my cohort", "synthetic": False, "note": ""}
        write_text(folder / "cohort.json", json.dumps(about, indent=2) + "\n")
    yield f"{folder}: dicom/, annotations/, dxa.csv, clinical.csv, cohort.json, ready to be filled"
    settings = yaml.safe_dump({"cohort": folder.as_posix(), "results": RESULTS}, sort_keys=False)
    more = (project / PAPER).read_text(encoding="utf-8") if paper else ""
    write_text(local, "\n".join([_CONFIG + settings, more]).rstrip() + "\n")
    # As results/ has it: git keeps nothing of patients.
    write_text(project / RESULTS / ".gitignore", "*\n!.gitignore\n")
    yield f"{LOCAL.as_posix()}: your settings; results go to {RESULTS}/"
    write_text(project / DVC, _STAGES + own_stages(project))
    yield f"{DVC.as_posix()}: the same under DVC (dvc add {folder}, dvc repro {DVC.as_posix()})"
    yield "Fill the folder, then call dsnet check."


def own_stages(project: Path) -> str:
    """Return the stages of ``dvc.yaml`` and ``all/dvc.yaml`` for one's own cohort, as YAML."""
    stages: dict[str, dict[str, Any]] = {}
    plots: list[Any] = []
    for path in ("dvc.yaml", "all/dvc.yaml"):
        content = yaml.safe_load((project / path).read_text(encoding="utf-8"))
        stages.update(content["stages"])
        plots += content.get("plots", [])
    for stage in stages.values():
        stage["wdir"] = ".."
        stage["params"] = [*stage["params"], {LOCAL.as_posix(): None}]
    for plot in plots:  # paths count from the folder of the file
        for facts in plot.values():
            facts["x"], facts["y"] = (
                {f"../{path}": y for path, y in facts[k].items()} for k in "xy"
            )
    text: str = yaml.safe_dump({"stages": stages, "plots": plots}, sort_keys=False, width=100)
    return text


def check_recorded(cohort: Path) -> None:
    """Refuse what differs from DVC's records, other than raw data that were not pulled.

    Stages that were never run are not asked: those of the demo beside an own cohort, for one.
    """
    stages = [
        f"{path.with_suffix('.yaml').as_posix()}:{stage}"
        for path in (Path(folder, "dvc.lock") for folder in ("", "own", "all", "data"))
        if path.exists()
        for stage in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    ]
    pointer = cohort.with_name(f"{cohort.name}.dvc")
    targets = [*stages, *([pointer.as_posix()] if pointer.exists() else [])]
    if not stages:
        raise UserError(
            "dvc.lock",
            expected="results that DVC has recorded",
            came="no record",
            remedy="run dvc repro, or snakemake if DVC is not used",
        )
    done = subprocess.run(  # noqa: S603 - DVC's own command
        [sys.executable, "-m", "dvc", "status", "--json", *targets],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(
            "dvc status",
            expected="an answer",
            came=f"exit status {done.returncode}",
            remedy="run dvc status, and wait or mend what it names",
        )
    changes = {
        path: state
        for stage in json.loads(done.stdout or "{}").values()
        for entry in stage
        if isinstance(entry, dict)
        for paths in entry.values()
        if isinstance(paths, dict)
        for path, state in paths.items()
    }
    for raw in ("data/phantom", "data/phantom-answers.json", cohort.as_posix()):
        if changes.get(raw) in ("deleted", "not in cache"):
            del changes[raw]
    if changes:
        raise UserError(
            "dvc status",
            expected="data and results that belong together",
            came=f"{len(changes)} changes since they were recorded",
            remedy="look at dvc status, then run dvc pull or dvc repro",
        )
