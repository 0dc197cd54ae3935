import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pydantic import BaseModel
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from dsnet.config.cohort import Criteria
from dsnet.config.load import Config, check_yaml, load
from dsnet.errors import UserError
from dsnet.report.methods import settings as settings_of

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"


@pytest.fixture(scope="module")
def config_files() -> ModuleType:
    """Return what writes files from the types."""
    spec = importlib.util.spec_from_file_location("config_files", ROOT / "docs" / "config_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return every key of a model in dotted form."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= leaves(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def keys(values: dict[str, object], known: set[str], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        path = prefix + name
        if isinstance(value, dict) and path not in known:
            found |= keys(value, known, path + ".")
        else:
            found.add(path)
    return found


def test_the_demo_config_shows_every_key() -> None:
    values = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    known = leaves(Config)
    assert keys(values, known) == known


def test_every_key_of_the_demo_config_is_explained() -> None:
    lines = (CONFIG / "config.yaml").read_text(encoding="utf-8").splitlines()
    criteria = set(Criteria.model_fields) | {"enabled"}
    for number, line in enumerate(lines):
        key, _, value = line.strip().partition(":")
        if not value or key.startswith(("#", "-")) or key in criteria:
            continue
        above = lines[number - 1].strip() if number else ""
        assert "#" in line or above.startswith("#"), f"line {number + 1}: {line}"


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml", "tiny.yaml"])
def test_shipped_configs_are_valid(name: str) -> None:
    values = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    values |= yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    load(values)


def test_the_papers_settings_are_the_defaults_and_win_over_the_demos() -> None:
    values = load_configfile(CONFIG / "config.yaml")
    update_config(values, load_configfile(CONFIG / "paper.yaml"))
    paper, defaults = load(values), Config(cohort=Path("data/phantom"))
    for section in set(Config.sections()) - {"phantom"}:
        assert getattr(paper, section) == getattr(defaults, section), section
    assert (paper.train.epochs, paper.train.batch_size, paper.train.learning_rate) == (100, 9, 0.01)
    assert (paper.detector.weights, paper.detector.loss) == ("paper", "dice")
    assert (paper.slices.size_px, paper.train.validate_every) == (512, 1)


def test_what_is_written_from_the_types_is_up_to_date(config_files: ModuleType) -> None:
    text = (CONFIG / "config.yaml").read_text(encoding="utf-8")
    assert text == config_files.commented_yaml(yaml.safe_load(text))
    assert (CONFIG / "schema.json").read_text(encoding="utf-8") == config_files.schema()
    assert (CONFIG / "README.md").read_text(encoding="utf-8").endswith(config_files.reference())


def test_every_key_has_a_meaning(config_files: ModuleType) -> None:
    meanings = config_files.reference().splitlines()[2:]
    assert [line for line in meanings if line.endswith("|  |")] == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trian": {}}, ["unknown key trian", "did you mean train?"]),
        ({"split": {"test_fracton": 0.1}}, ["split.test_fracton = 0.1", "test_fraction"]),
        ({"split": {"test_fraction": 2}}, ["split.test_fraction = 2", "less than 1"]),
        ({"train": {"epochs": "many"}}, ["train.epochs = 'many'", "integer"]),
        ({"label": {"t_score": "mean"}}, ["label.t_score = 'mean'", "'vertebra'"]),
        ({"label": "t_score:mean"}, ["label = 't_score:mean'", "each with ': ' between them"]),
        (
            {"exclude": {"criteria": {"metal_artefact": {"scope": "series"}}}},
            ["exclude.criteria.metal_artefact.scope = 'series'", "'patient'"],
        ),
    ],
)
def test_a_wrong_key_is_named_with_value_and_choice(
    values: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load({"cohort": "data/phantom", **values})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_cohort_is_said() -> None:
    with pytest.raises(UserError, match="no key cohort"):
        load({})


@pytest.mark.parametrize(
    ("content", "line", "came"),
    [
        ("cohort: a\ntrain:\n\tepochs: 3\n", 3, "a tab"),
        ("cohort: a\ntrain: {epochs: 3\nsplit: 1\n", 3, "expected ',' or '}'"),
        ("cohort: a\n  epochs: 3\n", 2, "mapping values are not allowed here"),
        ("- cohort\n", 1, "no key at all"),
        ("", 1, "no key at all"),
    ],
)
def test_broken_yaml_is_named_with_its_line(
    tmp_path: Path, content: str, line: int, came: str
) -> None:
    path = tmp_path / "local.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check_yaml(path)
    assert f"local.yaml line {line}: expected YAML" in str(caught.value)
    assert came in str(caught.value)


def test_yaml_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_bytes("cohort: a\nresults: résultats\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"line 2: .* but found bytes that are not UTF-8"):
        check_yaml(path)


def test_a_wrong_key_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_text(
        "cohort: a\nexclude:\n  criteria:\n    metal_artifact: {enabled: false}\n", encoding="utf-8"
    )
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    with pytest.raises(UserError) as caught:
        load(values, [CONFIG / "config.yaml", path])
    assert "did you mean metal_artefact?" in str(caught.value)
    assert "local.yaml line 4" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ("lowest:", "config/mine.yaml line 2"),
        ("highest", "config/local.yaml line 3"),
        ("by --config", None),
    ],
)
def test_a_wrong_value_is_named_with_the_file_that_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, where: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    files = [tmp_path / "config" / name for name in ("local.yaml", "mine.yaml")]
    files[0].write_text("cohort: a\nlabel:\n  t_score: highest\n", encoding="utf-8")
    files[1].write_text("label:\n  t_score: 'lowest:'\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load({"cohort": "a", "label": {"t_score": label}}, files)
    assert (f"in {where};" in str(caught.value)) if where else ("yaml" not in caught.value.came)


def test_a_word_means_one_thing() -> None:
    with pytest.raises(UserError, match="each word once: x stands twice"):
        load({"cohort": "a", "clinical": {"yes_words": ["X"], "no_words": ["x"]}})


def test_an_external_cohort_has_folders_of_its_own_and_all_else_alike() -> None:
    config = load({"cohort": "data/own", "results": "out", "external": {"north": "/data/north"}})
    north = config.of_external("north")
    assert (north.cohort, north.results, north.private) == (
        Path("/data/north"),
        Path("out/external/north"),
        Path("data/private/external/north"),
    )
    assert north.external == {}
    assert north.slices == config.slices
    assert config.of_results(Path("out/../out/external/north")) == north
    assert config.of_results(Path("out")) is config
    assert config.of_results(None) is config


@pytest.mark.parametrize("name", ["../up", "North", "a b", ""])
def test_names_of_external_cohorts_are_fit_for_folders(name: str) -> None:
    with pytest.raises(UserError, match="external"):
        load({"cohort": "data/own", "external": {name: "/data/north"}})


def test_a_report_shows_no_folder_of_this_machine() -> None:
    config = load({"cohort": "data/own", "external": {"north": "/data/north"}})
    assert not {"cohort", "results", "private", "external"} & set(settings_of(config))
