"""Mutation testing of one package: how many small changes of its code fail its own tests.

``python benchmarks/mutation.py split --mutants 40 --seed 0`` lists every comparison, operator,
condition, number and returned value in ``dsnet/split``, changes a seeded sample of them one at a
time in a temporary copy of the repository, and runs ``tests/split`` on each. A mutant that fails a
test, or runs far longer than the unchanged code, is killed. One that survives shows a rule without
a test, or a change without an effect, which only a reader can distinguish.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]

SWAPS: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
"""Each operator, and what replaces it."""

PLUGIN = """
from hypothesis import Phase, settings
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutation")
"""
"""A pytest plugin: one failure kills a mutant, and Hypothesis need not look for a smaller one."""


@dataclass(frozen=True)
class Mutant:
    """One changed file.

    Attributes
    ----------
    path : Path
        Relative to the repository.
    line : int
    change : str
        Code before and after.
    source : str
        The whole file with the change; its comments and layout are lost.
    """

    path: Path
    line: int
    change: str
    source: str


def main() -> None:
    """Print each mutant's outcome, and how many were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", help="a package below dsnet, whose tests are in tests/PACKAGE")
    parser.add_argument("--mutants", type=int, default=40, help="how many of all are sampled")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    arguments = parser.parse_args()
    mutants = [
        mutant
        for path in sorted((REPOSITORY / "dsnet" / arguments.package).rglob("*.py"))
        for mutant in mutate(path)
    ]
    count = min(arguments.mutants, len(mutants))
    chosen = np.random.default_rng(arguments.seed).choice(len(mutants), count, replace=False)
    with tempfile.TemporaryDirectory(prefix="dsnet-mutation-") as folder:
        copy = Path(folder)
        copy_repository(copy)
        (copy / "mutation_plugin.py").write_text(PLUGIN, encoding="utf-8")
        begin = time.monotonic()
        if not passes(copy, arguments.package, timeout_s=3600):
            sys.exit(f"tests/{arguments.package} fails on the unchanged code")
        limit_s = 30 + 5 * (time.monotonic() - begin)
        killed = 0
        for mutant in (mutants[index] for index in sorted(chosen)):
            target = copy / mutant.path
            unchanged = target.read_bytes()
            target.write_text(mutant.source, encoding="utf-8")
            survived = passes(copy, arguments.package, limit_s)
            target.write_bytes(unchanged)
            killed += not survived
            outcome = "SURVIVED" if survived else "killed"
            print(f"{outcome:8} {mutant.path}:{mutant.line}: {mutant.change}", flush=True)
    print(f"{arguments.package}: {killed} of {count} killed; {len(mutants)} mutants in all")


def copy_repository(folder: Path) -> None:
    """Copy all files that git tracks, or would track, to `folder`."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / name)


def passes(folder: Path, package: str, timeout_s: float) -> bool:
    """Return whether the package's tests pass in `folder` within the time."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
    command += ["-p", "mutation_plugin", "--hypothesis-seed=0", f"tests/{package}"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def mutate(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of one file."""
    source = path.read_text(encoding="utf-8")
    for index in range(sum(1 for _ in executed(ast.parse(source)))):
        tree = ast.parse(source)
        node = next(islice(executed(tree), index, None))
        before = ast.unparse(node).partition("\n")[0]
        if change(node):
            after = ast.unparse(node).partition("\n")[0]
            line = getattr(node, "lineno", 0)
            name = path.relative_to(REPOSITORY)
            yield Mutant(name, line, f"{before}  ->  {after}", ast.unparse(tree))


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield `node` and what is below it, except annotations and the block for the command line."""
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from executed(child)


def change(node: ast.AST) -> bool:
    """Change `node` in place; return False, and leave it, if it is of another kind."""
    match node:
        case ast.Compare(ops=[operator]):
            node.ops = [SWAPS[type(operator)]()]
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in SWAPS:
            node.op = SWAPS[type(operator)]()
        case ast.UnaryOp(operand=operand):
            node.operand = ast.UnaryOp(node.op, operand)  # twice the same operator is none
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            node.value = not value
        case ast.Constant(value=int(value) | float(value)):
            node.value = value + 1
        case ast.Return(value=ast.expr()):
            node.value = ast.Constant(None)
        case _:
            return False
    return True


if __name__ == "__main__":
    main()
