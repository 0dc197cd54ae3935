"""The command line: ``dsnet``. A command imports what it alone needs, since pandas loads slowly."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dsnet import __version__
from dsnet.config.load import CONFIG, Config, ConfigFile, read_config
from dsnet.errors import UserError, failure_lines, read_failures
from dsnet.results import SOURCE, Results
from dsnet.step import reporting
from dsnet.use import COMMANDS

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From lumbar-spine CT, DXA and annotations to detectors and tables that can be trusted. "
    "Not a medical device.",
)


ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        help="Results folder; default: the config's. That of an external cohort stands for its "
        "private and its cohort folder, too."
    ),
]
Cohort = Annotated[Path | None, typer.Option(help="Cohort folder; default: the config's.")]


class Format(StrEnum):
    """How ``dsnet audit`` answers."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dsnet {__version__}")
        raise typer.Exit


@app.callback()
def debugging(
    version: Annotated[  # noqa: ARG001 - the callback reads it
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Full tracebacks; they may quote patient data."),
    ] = False,
) -> None:
    """Set what holds for every command."""
    if debug:
        os.environ["DSNET_DEBUG"] = "1"


Command = Callable[..., Iterator[str] | None]


def command(name: str | None = None) -> Callable[[Command], Command]:
    """Return what makes a function a command of `name`.

    The lines that it returns are printed, and its errors become one sentence.
    """

    def register(function: Command) -> Command:
        @app.command(name)
        @functools.wraps(function)
        def reported(**arguments: Any) -> None:
            show_private = arguments.get("show_private", False)
            with reporting(show_private=show_private):
                if show_private and not sys.stdout.isatty():
                    raise UserError(
                        "--show-private",
                        expected="a terminal",
                        came="a file or pipe, where identities would stay",
                        remedy="call it on a private terminal",
                    )
                for line in function(**arguments) or ():
                    typer.echo(line)

        return function

    return register


@command()
def init(
    folder: Annotated[Path, typer.Argument(help="The cohort folder, there or not.")],
    paper: Annotated[
        bool, typer.Option("--paper", help="With the settings of the paper instead of the demo's.")
    ] = False,
) -> Iterator[str]:
    """Lay out a cohort folder, and a config of your own for it: config/local.yaml."""
    from dsnet.start.project import lay_out

    return lay_out(folder, paper=paper)


@command()
def check(
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Decode every image, too: minutes instead of seconds.")
    ] = False,
    show_private: Annotated[
        bool, typer.Option("--show-private", help="Add IDs and names; on a terminal only.")
    ] = False,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """List all faults of the cohort at once, before anything runs; status 1 if one stops it."""
    from dsnet.start.check import check_cohort
    from dsnet.start.faults import fault_lines, summary_lines

    config = read_config(configfile)
    stops = False
    for name in ("", *config.external):
        own = config.of_external(name) if name else config
        if name:
            yield f"\nExternal cohort {name}"
        checked = check_cohort(own, pixels=pixels, external=bool(name))
        yield from fault_lines(checked, show_private=show_private)
        cost = None
        if checked.images and not checked.stops and not name:
            from dsnet.start.cost import cost_of_table1

            cost = cost_of_table1(config, checked.images)
        yield from summary_lines(checked, own, cost, pixels=pixels)
        stops |= checked.stops
    if stops:
        raise SystemExit(1)


@command()
def why(configfile: ConfigFile = CONFIG) -> Iterator[str]:
    """Print how the last run of the workflow failed, with private detail on a terminal."""
    last = read_failures(read_config(configfile).private)
    return failure_lines(last, show_private=sys.stdout.isatty())


@command()
def phantom(
    cohort: Annotated[Path, typer.Option(help="Folder to make.")] = Path("data/phantom"),
    answers: Annotated[Path, typer.Option(help="Answer key, outside of it.")] = Path(
        "data/phantom-answers.json"
    ),
    seed: Annotated[int | None, typer.Option(help="Default: the config's.")] = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Make the built-in synthetic cohort."""
    from dsnet.phantom.step import make_phantom

    params = read_config(configfile).phantom
    if seed is not None:
        params = type(params).model_validate({**params.model_dump(), "seed": seed})
    make_phantom(params, cohort, answers)


@command()
def criteria(configfile: ConfigFile = CONFIG) -> None:
    """Print every exclusion criterion with its threshold, reason and source."""
    from dsnet.audit.view import criteria_view

    Console().print(criteria_view(read_config(configfile).exclude))


@command()
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
    form: Annotated[
        Format, typer.Option("--format", help="csv and json: all rows, whole, for programs.")
    ] = Format.TABLE,
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Show which files and patients were excluded, and why."""
    from dsnet.audit import view

    config = read_config(configfile, results)
    read = Results(results or config.results)
    limit = None if every else view.LIMIT
    if patient:
        answer = view.patient_view(
            read, patient, private=config.private, show_private=show_private, limit=limit
        )
    elif criterion:
        answer = view.criterion_view(
            read, criterion, private=config.private, show_private=show_private, limit=limit
        )
    elif file:
        answer = view.file_view(read, file, private=config.private, show_private=show_private)
    else:
        answer = view.overview(read, limit=limit)
    if form is Format.TABLE:
        Console().print(*answer.tables, sep="\n")
    else:
        sys.stdout.write(answer.csv() if form is Format.CSV else answer.json() + "\n")


@command("review-list")
def review_list(
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("review-list.csv"),
    detector: Annotated[
        str, typer.Option(help="Whose low confidence counts, once it is trained.")
    ] = "resnet50/none",
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """Write the images that a reader should look at, ready to fill in and to use as review.csv."""
    from dsnet.audit.contact_sheet import write_review_list

    config = read_config(configfile, results)
    seed = config.train.seeds[0]
    rows = write_review_list(
        output,
        Results(results or config.results),
        f"{detector}/seed{seed}",
        score=config.evaluate.score,
    )
    yield f"{output}: {rows} images to look at"


@command()
def deidentify(
    output: Annotated[
        Path | None, typer.Option(help="Folder to write; default: deidentified/ in the results.")
    ] = None,
    results: ResultsFolder = None,
    cohort: Cohort = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Write the included slices as DICOM without identity (PS3.15); pixels are read on request."""
    from dsnet.deidentify.step import write_deidentified

    config = read_config(configfile, results)
    folder = results or config.results
    out = output or folder / "deidentified"
    write_deidentified(
        deidentify=config.deidentify,
        cohort=cohort or config.cohort,
        private=config.private,
        source=folder / SOURCE,
        ledger=folder / "cohort" / "ledger.csv",
        files=out / "files.csv",
        refused=out / "refused.csv",
    )


@command("phi-check")
def phi_check(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="What to search; default: results, logs and Snakemake's records."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON to write; default: phi_check.json in the results.")
    ] = None,
    show_private: Annotated[  # noqa: ARG001 - `command` reads it
        bool, typer.Option("--show-private", help="Add the values found; on a terminal only.")
    ] = False,
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """Search outputs for every identifying value met at ingestion; status 1 if there is one."""
    from dsnet.phi.step import check, unread_sources

    config = read_config(configfile, results)
    folder = results or config.results
    written = report or folder / "phi_check.json"
    owner = Results(folder)
    found = check(
        folders or [folder, Path("logs"), Path(".snakemake")],
        config.phi_check,
        owner,
        private=config.private,
        report=written,
        external=config.external,
    )
    yield (
        f"{found.searched} values in {found.files} files: no hit, {found.suspects} suspects "
        f"({written})"
    )
    yield from unread_sources(owner).splitlines()


@command()
def withdraw(
    patient: Annotated[str, typer.Argument(help="Hospital ID or pseudonym.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """List everywhere a patient stands; with --yes, remove it and leave the files out for good."""
    from dsnet.audit import withdrawal
    from dsnet.cohort.folder import CohortFolder

    config = read_config(configfile, results)
    folder = Results(results or config.results)
    private = folder.private(config.private)
    who = withdrawal.find_patient(folder, private, config.private, patient)
    found = [
        *withdrawal.traces(folder, who),
        *withdrawal.private_traces(private, config.private, who),
    ]
    copies = withdrawal.dvc_objects(found, CohortFolder(config.cohort).dicom, who)
    for trace in found:
        yield f"{trace.path}: {trace.what}"
    yield (
        f"{who.key}: {len(found)} files of the project, {len(who.paths)} files below dicom/, "
        f"{len(copies)} copies of these in DVC's cache, which only dvc gc removes"
    )
    if yes:
        withdrawal.withdraw(folder, private, config.private, who, date.today())
        yield _AFTER_WITHDRAWAL
    else:
        yield "Nothing was removed: call it again with --yes to remove what is listed."


_AFTER_WITHDRAWAL = """\
Removed, and recorded: these files are excluded (withdrawn) if they are found again. Still to do:
1. In the cohort folder, which is never written here: delete the patient's DICOM files, annotations
   and rows of dxa, clinical and review tables (the workflow stops at annotations without images).
2. dvc add the cohort, then dvc repro (or snakemake): what was removed is made without the patient.
3. dvc gc --workspace, and with --cloud for the remote: the copies in DVC's cache and older versions
   hold the patient.
4. Other results folders of this cohort: dsnet withdraw with the pseudonym and --results.
5. Copies elsewhere: de-identified files that were sent, reports, lists, backups of the private
   folder."""


@command()
def report(
    shareable: Annotated[
        bool,
        typer.Option(
            "--shareable",
            help="No images, single patients or small numbers; searched for identities.",
        ),
    ] = False,
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> Iterator[str]:
    """Put what the results folder holds on one page, report.html, that needs no network.

    Works as soon as there is a ledger; the page says what was not made yet. A shareable page goes
    to a folder of its own, shareable/.
    """
    from dsnet.report.step import report as write

    config = read_config(configfile, results)
    folder = results or config.results
    page = (folder / "shareable" if shareable else folder) / "report.html"
    if shareable:
        Results(folder).private(config.private)  # what the page is searched with
    write(config=config, results=folder, page=page, shareable=shareable)
    if shareable:
        _check_shareable(page, config, folder)
    yield f"{page}: open it in any browser"


def _check_shareable(page: Path, config: Config, results: Path) -> None:
    """Search the page's folder for identities; remove the page if there is one."""
    from dsnet.phi.step import check

    try:
        check(
            [page.parent],
            config.phi_check,
            Results(results),
            private=config.private,
            report=results / "phi_check_shareable.json",
            external=config.external,
        )
    except UserError:
        page.unlink()
        raise


@command()
def show(
    table: Annotated[int, typer.Argument(min=1, max=3, help="Which of the three.")] = 1,
    results: ResultsFolder = None,
    configfile: ConfigFile = CONFIG,
) -> None:
    """Print a table with intervals and the paper's figures."""
    from dsnet.tables import detectors, literature

    folder = results or read_config(configfile).results
    path = folder / f"table{table}.csv"
    if table == 3:
        literature.show(table=path)
    else:
        summary = "metrics.json" if table == 1 else "table2.json"
        detectors.show(table=path, summary=folder / summary)


for _name, _function in COMMANDS.items():
    command(_name)(_function)


@command()
def adopt(
    target: Annotated[str, typer.Argument(help="What should count as up to date.")] = "all",
    configfile: ConfigFile = CONFIG,
) -> None:
    """Take results that ``dvc pull`` brought as up to date, if DVC finds them unchanged.

    Everything that is there is taken, with or without the raw data; what is missing stays missing.
    """
    from dsnet.start.project import check_recorded

    config = read_config(configfile)
    check_recorded(config.cohort)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--touch", target]
    if configfile:
        command += ["--configfile", *map(str, configfile)]
    raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    app()
