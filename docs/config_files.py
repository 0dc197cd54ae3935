"""What is written from the config's types: comments of config.yaml, JSON schema and reference.

``make config`` writes them again after a change of the types; a test compares them.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from dsnet.config.load import Config

_WIDTH = 100
_HEAD = """\
# The demo: everything that can be set, in the order of the pipeline. Settings for a paper-like
# training are in paper.yaml; give it with --configfile, and its keys win over these.
# Interpretations are those of docs/interpretations.md. A key that is not known stops the workflow.
# Comments are written from dsnet/config (make config): change them there, and values here.
# yaml-language-server: $schema=schema.json
"""


def commented_yaml(values: Mapping[str, Any]) -> str:
    """Return a complete config as YAML, with the meaning of each key above it.

    Parameters
    ----------
    values : mapping
        As `yaml.safe_load` reads them.
    """
    return _HEAD + "\n" + "\n".join(_section(values, Config, 0)) + "\n"


def schema() -> str:
    """Return the JSON schema of the config, by which editors check and complete it."""
    content = {"title": "dsnet", **Config.model_json_schema()}
    content["description"] = "The config of dsnet; see config/README.md."
    return json.dumps(content, indent=2) + "\n"


def reference() -> str:
    """Return a table of all keys with their defaults, as Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, default, meaning in _keys(Config(cohort=Path()), ""):
        shown = f"`{_flow(default)}`".replace("|", "\\|")
        lines.append(f"| `{key}` | {shown} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _section(values: Mapping[str, Any], model: type[BaseModel], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in model.model_fields.items():
        value = values[name]
        kind = field.annotation
        nested = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        meaning = field.description or ""
        if depth == 0 and nested:
            yield ""
            meaning = meaning or (nested.__doc__ or "").partition("\n")[0]
        if meaning and name != "enabled":
            text = " ".join(meaning.split())
            yield from textwrap.wrap(
                text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
        if nested and set(value) != {"enabled"}:
            yield f"{indent}{name}:"
            yield from _section(value, nested, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {_flow(one)}" for one in value)
        else:
            yield f"{indent}{name}: {_flow(value)}"


def _keys(defaults: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, default and meaning of each key below a section."""
    plain = defaults.model_dump(mode="json")
    for name, field in type(defaults).model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            shown = "" if field.is_required() else plain[name]
            yield f"{prefix}{name}", shown, " ".join((field.description or "").split())


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n...\n").strip()


def write(folder: Path) -> None:
    """Write ``config.yaml``, ``schema.json`` and the table of ``README.md`` in `folder` again."""
    demo = folder / "config.yaml"
    demo.write_text(commented_yaml(yaml.safe_load(demo.read_text(encoding="utf-8"))), "utf-8")
    (folder / "schema.json").write_text(schema(), "utf-8")
    page = folder / "README.md"
    above, mark, _ = page.read_text(encoding="utf-8").partition("## All keys\n")
    page.write_text(f"{above}{mark}\n{reference()}", "utf-8")


if __name__ == "__main__":
    write(Path("config"))
