"""A patient's history, from the optional clinical table."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from dsnet.cohort.spreadsheet import Row, describe, patient_ids, read_table
from dsnet.config.cohort import Clinical
from dsnet.errors import UserError, collectable
from dsnet.schemas import HISTORIES

_COLUMNS = (*HISTORIES, "sex", "age", "height_cm", "weight_kg")

History = Mapping[str, bool | None]
"""By column of `HISTORIES`; None where unknown."""

_YES = "yes y 1 true ja j oui si sí sì sim tak ano igen evet да 是 有 はい あり 예"
_NO = "no n 0 false nein non não nao nej nee nei nie ne nem nu hayir нет 否 无 無 没有 いいえ"
_UNKNOWN = (
    "? unknown unk n/a na n.a. k.a. unbekannt inconnu desconocido sconosciuto desconhecido "
    "onbekend ukendt okänd nieznane neznámo неизвестно 不详 不明 未知"
)
_DEFAULTS = Clinical()


def read_clinical(path: Path, params: Clinical = _DEFAULTS) -> dict[str, History]:
    """Return each patient's history by patient ID; empty where there is no such file.

    Parameters
    ----------
    path : Path
        ``clinical.csv`` or ``clinical.xlsx``.
    params : Clinical
        Words for yes, no and unknown beside the known ones.

    Raises
    ------
    UserError
        Naming row and column of what is neither yes, no nor empty, the rows of a patient that
        disagree, or a row with values and no patient ID.
    """
    if not path.exists():
        return {}
    histories: dict[str, History] = {}
    first_row: dict[str, int] = {}
    rows = read_table(path, ["patient_id", *HISTORIES], _COLUMNS)
    answers = _answers(params)
    for row, patient in zip(rows, patient_ids(rows, _COLUMNS), strict=True):
        if not patient:
            continue
        history: dict[str, bool | None] = {}
        for column in HISTORIES:
            with collectable():
                history[column] = _answer(row, column, answers)
        first_row.setdefault(patient, row.number)
        with collectable():
            if histories.setdefault(patient, history) != history:
                raise UserError(
                    f"{path.name} rows {first_row[patient]} and {row.number}",
                    expected="one history for one patient",
                    came="two that disagree",
                    remedy="delete the wrong row",
                    private=patient,
                )
    return histories


def _answers(params: Clinical) -> dict[str, bool | None]:
    """Return what each word means; those of the config come first."""
    words: tuple[tuple[bool | None, str, tuple[str, ...]], ...] = (
        (None, _UNKNOWN, params.unknown_words),
        (False, _NO, params.no_words),
        (True, _YES, params.yes_words),
    )
    answers: dict[str, bool | None] = {"": None}
    for meaning, known, _ in words:
        answers.update(dict.fromkeys(map(_plain, known.split()), meaning))
    for meaning, _, own in words:
        answers.update(dict.fromkeys(map(_plain, own), meaning))
    return answers


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).strip().casefold()


def _answer(row: Row, column: str, answers: Mapping[str, bool | None]) -> bool | None:
    text = row.cells[column]
    if _plain(text) not in answers:
        raise row.error(
            column,
            expected="yes, no or nothing",
            came=describe(text),
            remedy="correct the cell, or name the word in clinical.yes_words, no_words or "
            "unknown_words",
            private=text,
        )
    return answers[_plain(text)]
