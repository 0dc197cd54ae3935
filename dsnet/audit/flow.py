"""The flow of the cohort through the criteria, as a table."""

import json
from pathlib import Path
from typing import Any

from dsnet.errors import UserError

Row = dict[str, Any]


def read_flow(results: Path) -> dict[str, Any]:
    """Return what `dsnet.exclude.flow.flow` wrote.

    Raises
    ------
    UserError
        If the file is missing or is not what that step writes.
    """
    path = results / "cohort" / "flow.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "flow.json",
            expected="the counts that the exclusions wrote",
            came="no such file" if isinstance(error, OSError) else "something else",
            remedy="run the workflow, which makes it",
        ) from error
    if not isinstance(told, dict):
        raise UserError(
            "flow.json",
            expected="the counts that the exclusions wrote",
            came="something else",
            remedy="delete it and run the workflow",
        )
    return told


def flow_rows(told: dict[str, Any]) -> list[Row]:
    """Return the flow with one row per step, the files found first and those included last.

    Returns
    -------
    list of dict
        ``code``, ``step``, ``enabled``; ``files_removed``, ``images_removed``,
        ``patients_removed`` (None on first and last row); ``files``, ``images``, ``patients`` that
        remain; ``flagged`` and ``not_evaluated`` (files); ``patients_excluded``.
    """
    last = _end("included", told["included"])
    last["flagged"] = told["included_flagged"]["files"]
    last["not_evaluated"] = told["included_not_evaluated"]["files"]
    return [_end("files found", told["found"]), *(_step(step) for step in told["steps"]), last]


def _end(name: str, counts: dict[str, int]) -> Row:
    blank = dict.fromkeys(("files_removed", "images_removed", "patients_removed"))
    more = dict.fromkeys(("flagged", "not_evaluated", "patients_excluded"))
    return {"code": "", "step": name, "enabled": True, **blank, **counts, **more}


def _step(step: dict[str, Any]) -> Row:
    return {
        "code": step["code"],
        "step": step["slug"],
        "enabled": step["enabled"],
        **{f"{kind}_removed": number for kind, number in step["removed"].items()},
        **step["remain"],
        "flagged": step["flagged"]["files"],
        "not_evaluated": step["not_evaluated"]["files"],
        "patients_excluded": step["patients_excluded"],
    }
