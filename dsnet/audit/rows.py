"""Rows of the ledger by patient, by criterion or by file.

Plain lists of text: ``dsnet audit`` is asked one question at a time, and pandas alone would take
longer to load than 50,000 rows take to read.
"""

import csv
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dsnet.audit.flow import read_flow
from dsnet.errors import UserError
from dsnet.results import Results

Row = dict[str, str]

LEDGER = (
    "file_key",
    "image_key",
    "patient_key",
    "study_key",
    "series_key",
    "status",
    "criterion",
    "code",
    "reason",
    "evidence",
    "threshold",
    "decided_by",
    "all_criteria",
)
"""Columns of `dsnet.schemas.LEDGER`, said again, since the module loads pandas."""

PATIENTS = ("patient_key", "status", "n_files", "n_included", "criterion", "reason")
"""Columns of `dsnet.schemas.EXCLUSIONS`."""


@dataclass(frozen=True)
class Private:
    """The way back from pseudonyms.

    Attributes
    ----------
    results : Path
        Whose patients these are.
    folder : Path
        The config key ``private``; there need be nothing in it until asked.
    show : bool
        Whether rows may carry their paths: on a private terminal only.
    """

    results: Path
    folder: Path
    show: bool = False

    def column(self, name: str) -> dict[str, str]:
        """Return a column of `dsnet.schemas.MAP` by ``file_key``.

        Raises
        ------
        UserError
            If the key or the map is not at hand.
        """
        identities = Results(self.results).private(self.folder).read_map()
        return dict(zip(identities["file_key"], identities[name], strict=True))


def ledger_rows(results: Path, wanted: Callable[[Row], bool] = lambda _: True) -> list[Row]:
    """Return the rows of ``ledger.csv`` that are `wanted`, with all its columns."""
    return _read(results / "cohort" / "ledger.csv", LEDGER, wanted)


def patients(results: Path) -> list[Row]:
    """Return the rows of ``exclusions.csv``."""
    return _read(results / "cohort" / "exclusions.csv", PATIENTS, lambda _: True)


def patient_rows(results: Path, patient: str, private: Private) -> list[Row]:
    """Return the ledger's rows of one patient.

    Parameters
    ----------
    results : Path
    patient : str
        A pseudonym or, with the private map at hand, the hospital's ID.
    private : Private
        Needed for a hospital's ID only.

    Raises
    ------
    UserError
        If there is no such patient, or no map that could tell.
    """
    rows = ledger_rows(results, lambda row: row["patient_key"] == patient != "")
    if not rows:
        wanted = patient.strip()
        own = {file for file, name in private.column("patient_id").items() if name == wanted != ""}
        every = ledger_rows(results)
        keys = {row["patient_key"] for row in every if row["file_key"] in own} - {""}
        rows = [row for row in every if row["patient_key"] in keys]
    if not rows:
        raise UserError(
            "--patient",
            expected="a pseudonym from ledger.csv or a patient ID from the CT headers",
            came=f"text of {len(patient)} characters that is neither",
            remedy="look it up in exclusions.csv; leading zeros matter",
            private=patient,
        )
    return rows


def criterion_rows(results: Path, criterion: str) -> list[Row]:
    """Return the ledger's rows on which a criterion was found, first or not, or asks for review.

    Parameters
    ----------
    results : Path
    criterion : str
        A slug or a code.

    Raises
    ------
    UserError
        If there is no such criterion.
    """
    slug = _slug(results, criterion)
    return ledger_rows(results, lambda row: slug in _listed(row["all_criteria"]))


def file_rows(results: Path, file_key: str) -> list[Row]:
    """Return the ledger's row of one file, as errors name it.

    Raises
    ------
    UserError
        If there is no such file.
    """
    rows = ledger_rows(results, lambda row: row["file_key"] == file_key.strip())
    if not rows:
        raise UserError(
            "--file",
            expected="a file_key from ledger.csv",
            came=f"text of {len(file_key)} characters that is none",
            remedy="copy it from the error or the table that named it",
            private=file_key,
        )
    return rows


def with_paths(rows: list[Row], private: Private) -> list[Row]:
    """Return rows with their private ``path`` below ``dicom/``: for a private terminal only."""
    paths = private.column("relative_path")
    return [{**row, "path": paths.get(row["file_key"], "")} for row in rows]


def _listed(all_criteria: str) -> list[str]:
    return all_criteria.replace("?", "").split(";")


def _slug(results: Path, criterion: str) -> str:
    """Return the slug of a criterion as the run knew it: ``flow.json`` lists every one."""
    by_code = {step["code"]: step["slug"] for step in read_flow(results)["steps"]}
    slug: str = by_code.get(criterion.upper(), criterion)
    if slug not in by_code.values():
        close = difflib.get_close_matches(slug, list(by_code.values()), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            "--criterion",
            expected="a slug or code that dsnet criteria prints",
            came="another word",
            remedy=f"{hint}choose one of {', '.join(by_code.values())}",
        )
    return slug


def _read(path: Path, columns: tuple[str, ...], wanted: Callable[[Row], bool]) -> list[Row]:
    """Return the wanted rows of a table that the exclusions wrote, and checked when they did."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = csv.reader(stream)
            header = next(lines, [])
            if not set(columns) <= set(header):
                raise _broken(path, f"one without the columns {', '.join(columns)}")
            return [row for cells in lines if wanted(row := dict(zip(header, cells, strict=True)))]
    except OSError as error:
        raise _broken(path, "no file that can be read") from error
    except ValueError as error:
        raise _broken(path, "one with cells missing or that is no text") from error


def _broken(path: Path, came: str) -> UserError:
    return UserError(
        path.name,
        expected="the table that the exclusions wrote",
        came=came,
        remedy="run the workflow, which makes it",
    )
