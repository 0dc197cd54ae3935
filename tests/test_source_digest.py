import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import dsnet
from dsnet import source_digest as module
from dsnet.source_digest import closure, commit, source_digest, versions

pytestmark = pytest.mark.slow

ROOT = Path(dsnet.__file__).parent
RULES = ROOT.parent / "workflow" / "rules"
NAMED = sorted(
    {
        (f"dsnet.{module}", name)
        for path in RULES.glob("*.smk")
        for module, name in re.findall(
            r'\bstep\(\s*"([\w.]+) ?([\w-]*)"', path.read_text(encoding="utf-8")
        )
    }
)
STEPS = sorted({module for module, _ in NAMED})

IMPORTED = """
import importlib, json, sys
found = {}
for step in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "dsnet"]:
        del sys.modules[name]
    importlib.import_module(step)
    own = [module for name, module in sys.modules.items() if name.split(".")[0] == "dsnet"]
    found[step] = sorted(module.__file__ for module in own)
print(json.dumps(found))
"""


def names(module: str) -> set[str]:
    """Return the closure as paths below the package."""
    return {path.relative_to(ROOT).as_posix() for path in closure(module)}


def test_the_closure_holds_all_that_is_really_imported() -> None:
    command = [sys.executable, "-W", "ignore", "-c", IMPORTED, *STEPS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout)
    assert len(STEPS) > 15
    for step in STEPS:
        assert set(imported[step]) <= {str(path) for path in closure(step)}, step


def test_every_rule_depends_on_the_module_that_it_runs() -> None:
    for step in STEPS:
        assert f"{step.removeprefix('dsnet.').replace('.', '/')}.py" in names(step)


def test_every_rule_names_a_step_of_its_module() -> None:
    for step, name in NAMED:
        path = ROOT.parent.joinpath(*step.split(".")).with_suffix(".py")
        (call,) = re.findall(r"^    run\(([\w, ]+)\)$", path.read_text(encoding="utf-8"), re.M)
        steps = [one.strip().replace("_", "-") for one in call.split(",")]
        assert name in steps if len(steps) > 1 else not name, step


def test_a_module_of_several_steps_is_run_by_its_own_rules_alone() -> None:
    """What is cheap shares a module (docs/adr/0009): a change of it runs nothing else again."""
    shared = {step for step, name in NAMED if name}
    for step in STEPS:
        others = {f"{one.removeprefix('dsnet.').replace('.', '/')}.py" for one in shared - {step}}
        assert others.isdisjoint(names(step)), step


def test_templates_and_scripts_belong_to_their_package() -> None:
    assert "report/templates/report.css" in names("dsnet.report.step")
    assert "report/templates/report.css" not in names("dsnet.ingest.step")


def test_a_training_depends_on_no_statistic_and_on_no_other_section_of_the_config() -> None:
    """The boundary of docs/adr/0002: what a change of must never cost days of GPU."""
    mine = names("dsnet.train.step")
    packages = {name.partition("/")[0] for name in mine if "/" in name}
    assert packages.isdisjoint(
        {"tables", "figures", "report", "audit", "phi", "deidentify", "baseline", "leakage"}
        | {"phantom", "ingest", "match", "exclude", "label", "cohort", "dicom"}
    )
    config = {name for name in mine if name.startswith("config/")}
    assert config == {"config/__init__.py", "config/detector.py"}


def test_the_digest_changes_with_a_file_of_the_closure_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "__init__.py": "",
        "one.py": "def f():\n    from dsnet import two\n",
        "two.py": "import json\n",
        "other.py": "from dsnet.one import f\n",
    }.items():
        (tmp_path / "dsnet" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dsnet" / name).write_text(text)

    def digests() -> dict[str, str]:
        for function in (module._read, module._imports, module._data):
            function.cache_clear()
        return {name: source_digest(f"dsnet.{name}") for name in ("one", "two", "other")}

    monkeypatch.setattr(module, "_ROOT", tmp_path / "dsnet")
    try:
        before = digests()
        (tmp_path / "dsnet" / "two.py").write_text("import re\n")
        after = digests()
        assert {name: before[name] == after[name] for name in before} == {
            "one": False,
            "two": False,
            "other": False,
        }
        (tmp_path / "dsnet" / "other.py").write_text("")
        assert {name: digests()[name] == after[name] for name in after} == {
            "one": True,
            "two": True,
            "other": False,
        }
    finally:
        monkeypatch.undo()
        digests_of_the_package = (module._read, module._imports, module._data)
        for function in digests_of_the_package:
            function.cache_clear()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from dsnet.source_digest import source_digest\n"
        f"[source_digest(step) for step in {STEPS!r}]\n"
        "print({'numpy', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_package_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in conda's environment, where steps import it from the clone."""
    installed = module.version

    def version(name: str) -> str:
        if name == "dsnet":
            raise PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(module, "version", version)
    assert versions()["dsnet"]


def test_the_commit_is_known_in_a_clone_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch("[0-9a-f]{40}|unknown", commit())

    def missing(*_args: object, **_kwargs: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit() == "unknown"
    monkeypatch.setenv("DSNET_COMMIT", "a" * 40)
    assert commit() == "a" * 40


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root changes owners")
def test_the_commit_of_another_users_clone_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "a"]):
        subprocess.run([*git, *words], check=True)
    made = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    refused = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=False)
    assert b"dubious ownership" in refused.stderr
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    assert commit() == made
