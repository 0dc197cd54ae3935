"""The configuration, as types: each key's default, range, unit and meaning.

Here is what all sections share. One module for each group of sections, so that a step depends on
its own group alone: a new key of another one changes nothing that it runs. Defaults are the paper's
settings. Nothing heavy is imported: the workflow reads the config whenever it loads.
"""

import difflib
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

EXTERNAL = "external"
"""Folder of the external cohorts by name, below the results and below the private folder."""

Positive = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the config; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Locate = Callable[[tuple[str | int, ...], Any], str]
"""From a key and its value to the file and line that sets it, such as ``config/local.yaml line 3``,
or "".
"""


def explain(error: ValidationError, model: type[BaseModel], locate: Locate = lambda *_: "") -> str:
    """Return, in one line, which keys of `model` are wrong, what they hold and what is allowed."""
    sentences = []
    for item in error.errors():
        where = locate(item["loc"], item["input"])
        sentences.append(_explain_one(dict(item), model) + (f" in {where}" if where else ""))
    return "; ".join(sentences)


def _explain_one(item: dict[str, Any], model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key} = {item['input']!r} ({_known(item['loc'], model)})"
    if item["type"] == "missing":
        return f"no key {key}"
    if item["type"] == "model_type":
        return f"{key} = {item['input']!r} (keys with values, each with ': ' between them)"
    return f"{key} = {item['input']!r} ({item['msg'].lower()})"


def _known(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Return the keys allowed at the place of a misspelt one, the likeliest first."""
    section = model
    for part in location[:-1]:
        candidate = (
            section.model_fields[str(part)].annotation
            if str(part) in section.model_fields
            else None
        )
        if not (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
            break
        section = candidate
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
