"""The command line: ``dsnet``."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from dsnet.config import Config, load
from dsnet.errors import UserError
from dsnet.step import reporting

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From lumbar-spine CT, DXA and annotations to detectors and tables that can be trusted. "
    "Not a medical device.",
)


ConfigFile = Annotated[
    list[Path],
    typer.Option("--configfile", help="As for snakemake; a later file overrides an earlier one."),
]
Results = Annotated[Path | None, typer.Option(help="Results folder; default: the config's.")]
Cohort = Annotated[Path | None, typer.Option(help="Cohort folder; default: the config's.")]
CONFIG = [Path("config/config.yaml")]


@app.callback()
def debugging(
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Full tracebacks; they may quote patient data."),
    ] = False,
) -> None:
    """Set what holds for every command."""
    if debug:
        os.environ["DSNET_DEBUG"] = "1"


@app.command()
def phantom(
    cohort: Annotated[Path, typer.Option(help="Folder to make.")] = Path("data/phantom"),
    answers: Annotated[Path, typer.Option(help="Answer key, outside of it.")] = Path(
        "data/phantom-answers.json"
    ),
    seed: Annotated[int | None, typer.Option(help="Default: the config's.")] = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Make the built-in synthetic cohort."""
    from dsnet.phantom.cohort import make_phantom  # noqa: PLC0415 - SciPy, for this command alone

    with reporting():
        params = _config(configfile).phantom
        if seed is not None:
            params = type(params).model_validate({**params.model_dump(), "seed": seed})
        make_phantom(params, cohort, answers)


@app.command()
def criteria(configfile: ConfigFile = CONFIG) -> None:
    """Print every exclusion criterion with its threshold, reason and source."""
    from dsnet.audit.view import criteria_view  # noqa: PLC0415 - pandas, for this command alone

    with reporting():
        Console().print(criteria_view(_config(configfile).exclude))


@app.command()
def audit(
    patient: Annotated[
        str, typer.Option(help="A pseudonym or, with the private map at hand, the hospital's ID.")
    ] = "",
    criterion: Annotated[str, typer.Option(help="A slug or code of dsnet criteria.")] = "",
    file: Annotated[str, typer.Option(help="A file_key, as errors name it.")] = "",
    show_private: Annotated[
        bool, typer.Option("--show-private", help="Add the files' paths; on a terminal only.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="All rows, however many.")] = False,
    results: Results = None,
    cohort: Cohort = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Show which files and patients were excluded, and why."""
    from dsnet.audit import rows, view  # noqa: PLC0415 - pandas, for this command alone

    with reporting(show_private=show_private):
        config = _config(configfile)
        folder = results or config.results
        limit = None if every else view.LIMIT
        _check_terminal(show_private)
        private = rows.Private(config.private, cohort or config.cohort, show_private)
        if patient:
            shown = view.patient_view(folder, patient, private=private, limit=limit)
        elif criterion:
            shown = view.criterion_view(folder, criterion, private=private, limit=limit)
        elif file:
            shown = view.file_view(folder, file, private=private)
        else:
            shown = view.overview(folder, limit=limit)
        Console().print(*shown, sep="\n")


@app.command()
def show(results: Results = None, configfile: ConfigFile = CONFIG) -> None:
    """Print Table 1 with intervals and the paper's figures."""
    from dsnet.tables.show import show as print_table  # noqa: PLC0415 - pandas, as above

    with reporting():
        folder = results or _config(configfile).results
        print_table(table=folder / "table1.csv", summary=folder / "metrics.json")


@app.command()
def adopt(
    target: Annotated[str, typer.Argument(help="What should count as up to date.")] = "",
    configfile: ConfigFile = CONFIG,
) -> None:
    """Take results that ``dvc pull`` brought as up to date, if DVC finds them unchanged."""
    with reporting():
        config = _config(configfile)
        if subprocess.run(
            [sys.executable, "-m", "dvc", "status", "--quiet"], check=False
        ).returncode:
            raise UserError(
                "dvc status",
                expected="data and results that belong together",
                came="changes since they were recorded",
                remedy="look at dvc status, then run dvc pull or dvc repro",
            )
        wanted = target or str(config.results / "table1.csv")
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--touch", wanted]
        raise SystemExit(subprocess.run(command, check=False).returncode)


def _config(files: list[Path]) -> Config:
    values: dict[str, object] = {}
    for path in dict.fromkeys([*CONFIG, *files]):
        if not path.exists():
            raise UserError(
                str(path),
                expected="the config file",
                came="no file",
                remedy="call dsnet in the project's folder, or name one with --configfile",
            )
        _update(values, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return load(values)


def _update(values: dict[str, object], more: dict[str, object]) -> None:
    """Merge nested keys, as Snakemake merges config files."""
    for key, value in more.items():
        old = values.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _update(old, value)
        else:
            values[key] = value


def _check_terminal(show_private: bool) -> None:
    if show_private and not sys.stdout.isatty():
        raise UserError(
            "--show-private",
            expected="a terminal",
            came="a file or pipe, where identities would stay",
            remedy="call it on a private terminal",
        )


if __name__ == "__main__":
    app()
