import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.split.step import split_patients
from dsnet.step import run


@pytest.fixture
def files(tmp_path: Path, make_tables: Callable[..., Any]) -> dict[str, Path]:
    tables = make_tables((4, 4, 4), incomplete=1)
    paths = {"labels": tmp_path / "labels.csv", "index": tmp_path / "index.parquet"}
    schemas.write(schemas.LABELS, tables.boxes, paths["labels"])
    schemas.write(schemas.INDEX, tables.files, paths["index"])
    return paths | {"split": tmp_path / "split.csv", "proof": tmp_path / "split_proof.json"}


def arguments(files: dict[str, Path], params: Split) -> list[str]:
    named = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    return ["--params", params.model_dump_json(), *named]


def test_command_line_writes_split_and_proof(files: dict[str, Path]) -> None:
    run(split_patients, arguments(files, Split()))
    split = schemas.read(schemas.SPLIT, files["split"])
    boxes = schemas.read(schemas.LABELS, files["labels"])
    assert sorted(split["image_key"]) == sorted(set(boxes["image_key"]))
    assert split.groupby("patient_key")["subset"].nunique().eq(1).all()
    stratum = split.set_index("image_key")["stratum"]
    assert boxes["image_key"].map(stratum).equals(boxes["label"].rename("image_key"))
    proof = json.loads(files["proof"].read_text(encoding="utf-8"))
    assert (
        proof["distinct"]["patient"] == split.groupby("subset")["patient_key"].nunique().to_dict()
    )


def test_rows_in_another_order_give_the_same_bytes(files: dict[str, Path]) -> None:
    run(split_patients, arguments(files, Split()))
    before = files["split"].read_bytes(), files["proof"].read_bytes()
    for schema, name in ((schemas.LABELS, "labels"), (schemas.INDEX, "index")):
        schemas.write(schema, schemas.read(schema, files[name]).iloc[::-1], files[name])
    run(split_patients, arguments(files, Split()))
    assert (files["split"].read_bytes(), files["proof"].read_bytes()) == before


def test_a_leaking_import_is_refused_and_nothing_written(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(split_patients, arguments(files, Split()))
    drawn = schemas.read(schemas.SPLIT, files["split"])[["patient_key", "subset"]]
    parts = files["split"].with_name("parts.csv")
    drawn.drop_duplicates().to_csv(parts, index=False)
    params = Split(file=parts)
    before = files["split"].read_bytes()
    run(split_patients, arguments(files, params))
    assert files["split"].read_bytes() == before
    proof = json.loads(files["proof"].read_text(encoding="utf-8"))
    assert (proof["source"], proof["seed"]) == ("imported", None)

    files["split"].unlink()
    files["proof"].unlink()
    index = pd.read_parquet(files["index"])
    key = {
        part: drawn["patient_key"][drawn["subset"] == part].iloc[0] for part in ("train", "test")
    }
    study = index.loc[index["patient_key"] == key["train"], "study_key"].iloc[0]
    index.loc[index["patient_key"] == key["test"], "study_key"] = study
    schemas.write(schemas.INDEX, index, files["index"])
    with pytest.raises(SystemExit):
        run(split_patients, arguments(files, params))
    assert "expected no study in both parts, but found 1" in capsys.readouterr().err
    assert not files["split"].exists()
    assert not files["proof"].exists()
