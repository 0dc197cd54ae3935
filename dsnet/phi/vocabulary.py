"""Words that stand in every output because the program, and not a patient, brings them."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pydicom.datadict import dictionary_description, keyword_dict

_WORD = re.compile(r"[^\W_]+")
_TEMPLATES = {".html", ".j2", ".js", ".css", ".csv"}
_INVENTED = "phantom"
"""The package whose names stand for patients' own, and so are no vocabulary."""


@lru_cache(maxsize=1)
def program_words() -> frozenset[str]:
    """Return, in lower case, what this program can write by itself, and DICOM's data dictionary.

    That is the names and string literals of its modules and the words of its templates; comments
    and docstrings, in which examples stand, are not.
    """
    package = Path(__file__).resolve().parents[1]
    texts = [dictionary_description(tag) for tag in keyword_dict.values()]
    for path in package.rglob("*"):
        if path.relative_to(package).parts[0] == _INVENTED:
            continue
        if path.suffix == ".py":
            texts += _literals(path.read_text(encoding="utf-8"))
        elif path.suffix in _TEMPLATES:
            texts.append(path.read_text(encoding="utf-8"))
    return frozenset(word for text in texts for word in _WORD.findall(text.lower()))


def _literals(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
