import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import is_leaky
from dsnet.split.step import read_subsets, split_cohort
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
    run(split_cohort, argv=arguments(files, Split()))
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
    run(split_cohort, argv=arguments(files, Split()))
    before = files["split"].read_bytes(), files["proof"].read_bytes()
    for schema, name in ((schemas.LABELS, "labels"), (schemas.INDEX, "index")):
        schemas.write(schema, schemas.read(schema, files[name]).iloc[::-1], files[name])
    run(split_cohort, argv=arguments(files, Split()))
    assert (files["split"].read_bytes(), files["proof"].read_bytes()) == before


def test_a_leaking_import_is_refused_and_nothing_written(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(split_cohort, argv=arguments(files, Split()))
    table = schemas.read(schemas.SPLIT, files["split"])[["patient_key", "subset"]]
    imported = files["split"].with_name("subsets.csv")
    table.drop_duplicates().to_csv(imported, index=False)
    params = Split(file=imported)
    before = files["split"].read_bytes()
    run(split_cohort, argv=arguments(files, params))
    assert files["split"].read_bytes() == before
    proof = json.loads(files["proof"].read_text(encoding="utf-8"))
    assert (proof["source"], proof["seed"]) == ("imported", None)

    files["split"].unlink()
    files["proof"].unlink()
    index = pd.read_parquet(files["index"])
    key = {
        name: table["patient_key"][table["subset"] == name].iloc[0] for name in ("train", "test")
    }
    study = index.loc[index["patient_key"] == key["train"], "study_key"].iloc[0]
    index.loc[index["patient_key"] == key["test"], "study_key"] = study
    schemas.write(schemas.INDEX, index, files["index"])
    with pytest.raises(SystemExit):
        run(split_cohort, argv=arguments(files, params))
    assert "expected no study in both subsets, but found 1" in capsys.readouterr().err
    assert not files["split"].exists()
    assert not files["proof"].exists()


def test_the_step_marks_what_it_writes(tmp_path: Path, make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    schemas.write(schemas.LABELS, tables.boxes, tmp_path / "labels.csv")
    schemas.write(schemas.INDEX, tables.files, tmp_path / "index.parquet")
    split_cohort(
        params=Split(unit="image"),
        labels=tmp_path / "labels.csv",
        index=tmp_path / "index.parquet",
        split=tmp_path / "split.csv",
        proof=tmp_path / "proof.json",
    )
    lines = (tmp_path / "split.csv").read_text().splitlines()
    assert all(line.startswith("LEAKY,I-") for line in lines[1:])
    assert is_leaky(schemas.read(schemas.SPLIT, tmp_path / "split.csv"))
    assert json.loads((tmp_path / "proof.json").read_text())["leak"]["test_images"] == 12


def test_an_imported_split_is_by_patient() -> None:
    with pytest.raises(ValidationError, match=r"leave split\.unit at patient"):
        Split(unit="image", file=Path("subsets.csv"))


@pytest.fixture
def patients(make_tables: Callable[..., Any]) -> pd.DataFrame:
    tables = make_tables((3, 3, 3), incomplete=1)
    return tables.patients().sort_index()


def lines(patients: pd.DataFrame) -> list[str]:
    """Return a sound file: complete patients alternate, the others train."""
    turn = iter(["validation", "test", "train"] * 3)
    return [f"{key},{next(turn) if row.complete else 'train'}" for key, row in patients.iterrows()]


def write(folder: Path, rows: list[str], *, header: str = "patient_key,subset") -> Path:
    path = folder / "subsets.csv"
    path.write_bytes("\r\n".join([header, *rows, ""]).encode("utf-8-sig"))
    return path


def test_reads_what_a_spreadsheet_saves(tmp_path: Path, patients: pd.DataFrame) -> None:
    rows = lines(patients)
    subsets = read_subsets(write(tmp_path, [*rows[::-1], ",", ""]), patients)
    assert subsets.sort_index().tolist() == [row.split(",")[1] for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:2], "", rows[2].replace(",", ",x"), *rows[3:]], r"row 5: .*one of"),
        (lambda rows: [*rows, rows[0]], "row 14: expected each patient once"),
        (lambda rows: [*rows, "4711-SMITH,train"], r"row 14: .* unknown one \(1 in all\)"),
        (lambda rows: rows[1:], r"each of the 12 patients .* none for 1 of them, such as P-"),
        (lambda rows: [row.replace("test", "train") for row in rows], "none in test"),
        (lambda rows: [row.split(",")[0] for row in rows], "row 2: expected one of"),
    ],
)
def test_bad_tables_are_refused_without_quoting_them(
    tmp_path: Path,
    patients: pd.DataFrame,
    change: Callable[[list[str]], list[str]],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_subsets(write(tmp_path, change(lines(patients))), patients)
    assert "SMITH" not in str(caught.value)


def test_test_patients_have_all_levels(tmp_path: Path, patients: pd.DataFrame) -> None:
    rows = lines(patients)
    lacking = int((~patients["complete"]).to_numpy().argmax())
    rows[lacking] = f"{patients.index[lacking]},test"
    with pytest.raises(UserError, match=rf"row {lacking + 2}: expected test patients with all"):
        read_subsets(write(tmp_path, rows), patients)


def test_header_encoding_and_absence(tmp_path: Path, patients: pd.DataFrame) -> None:
    rows = lines(patients)
    subsets = read_subsets(write(tmp_path, rows, header="PATIENT_KEY,Subset"), patients)
    assert len(subsets) == len(patients)
    with pytest.raises(UserError, match="expected a column patient_key"):
        read_subsets(write(tmp_path, rows, header="patient,subset"), patients)
    with pytest.raises(UserError, match="no file"):
        read_subsets(tmp_path / "absent.csv", patients)
    (tmp_path / "latin.csv").write_bytes("patient_key,subset\nM\xfcller,test\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_subsets(tmp_path / "latin.csv", patients)
