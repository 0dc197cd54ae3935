"""The source that a step runs: the digest of its import closure, its commit and versions.

Snakemake's code trigger does not follow imports. A rule therefore names this digest, so that a step
is run again when, and only when, a module that it may import has changed (docs/adr/0002). The
closure is computed from the source, without importing it: the workflow computes it whenever it
loads.
"""

import ast
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dsnet import __version__

_ROOT = Path(__file__).parent


def source_digest(module: str) -> str:
    """Return 16 hexadecimal digits that change when a file of `closure` does.

    Parameters
    ----------
    module : str
        Full name, such as ``dsnet.split.step``.
    """
    digest = hashlib.sha256()
    for path in closure(module):
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\0".encode())
        digest.update(_read(path))
    return digest.hexdigest()[:16]


def closure(module: str) -> list[Path]:
    """Return every file of this package that running `module` may read, in order of path.

    Imports inside functions count; those for type checkers alone do not. Files that are not Python
    (templates, scripts) belong to the package that they lie in.

    Raises
    ------
    ModuleNotFoundError
        If `module`, or one that it imports, is not in this package.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            # Its package's ``__init__`` runs before a module.
            waiting += [*filter(None, [name.rpartition(".")[0]]), *_imports(name)]
    sources = {_path(name) for name in seen}
    data = {path for source in sources if source.name != "__init__.py" for path in _data(source)}
    return sorted(sources | data)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Return the modules of this package that a module's source imports."""
    found: list[str] = []
    for node in _nodes(ast.parse(_read(_path(name)))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif node.module is not None and node.level == 0:
            found.append(node.module)
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            found += [member for member in members if _is_module(member)]
    return tuple(one for one in found if one.split(".")[0] == _ROOT.name)


def _nodes(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.expr):
            waiting += ast.iter_child_nodes(node)


def _is_module(name: str) -> bool:
    parts = name.split(".")
    if parts[0] != _ROOT.name:
        return False
    path = _ROOT.joinpath(*parts[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _path(name: str) -> Path:
    path = _ROOT.joinpath(*name.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(f"no module {name}", name=name)


@cache
def _data(source: Path) -> tuple[Path, ...]:
    """Return the files that are not Python beside a module and in folders without modules."""
    files = [path for path in source.parent.iterdir() if path.is_file()]
    for folder in source.parent.iterdir():
        is_package = (folder / "__init__.py").exists()
        if folder.is_dir() and not is_package and folder.name != "__pycache__":
            files += [path for path in folder.rglob("*") if path.is_file()]
    return tuple(path for path in files if path.suffix not in (".py", ".pyc"))


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those on which weights depend."""
    packages = ("lightning-fabric", "numpy", "torch", "torchvision")
    own = {"python": platform.python_version(), "dsnet": __version__}
    return own | {name: version(name) for name in packages}


def commit() -> str:
    """Return the commit of the package's sources, ``unknown`` outside a clone.

    A clone may be another user's, as in a container. An image without a clone has the commit of its
    build in the environment variable ``DSNET_COMMIT``.
    """
    built = os.environ.get("DSNET_COMMIT") or "unknown"
    try:
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],  # noqa: S607 - git, where it is
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return built
    return answer.stdout.strip() if answer.returncode == 0 else built
