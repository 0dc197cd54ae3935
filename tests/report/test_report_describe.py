import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import make_exclusions, make_index, make_patients, make_tables

from dsnet.evaluate.subgroups import suppress
from dsnet.report.counts import GROUPS, Block, describe
from dsnet.schemas import CLASSES, SUBSETS

CATEGORIES = ["a", "b", "c", "d"]


def counted(rows: list[list[int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=CATEGORIES[: len(rows)], columns=["train", "test"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=2), min_size=2, max_size=4))
def test_no_small_number_remains_or_follows_from_the_total(rows: list[list[int]]) -> None:
    counts = counted(rows)
    text = suppress(counts, 5)
    hidden = (text == "hidden").all(axis=1)
    small = ((counts > 0) & (counts < 5)).any(axis=1)
    assert (hidden | ~small).all()
    assert ((text == "hidden").any(axis=1) == hidden).all()
    # What is hidden in a group follows from its total.
    for total in counts[hidden].sum():
        assert total == 0 or total >= 5 or not counts[~hidden].to_numpy().any()
    for name in counts.index[~hidden]:
        assert list(text.loc[name]) == [str(count) for count in counts.loc[name]]


def test_no_more_is_hidden_than_needed() -> None:
    text = suppress(counted([[3, 9], [40, 7], [6, 30], [50, 50]]), 5)
    assert text["train"].tolist() == ["hidden", "40", "hidden", "50"]


def test_nothing_is_hidden_when_nothing_is_asked() -> None:
    text = suppress(counted([[1, 2], [0, 1200]]), 0)
    assert text.to_numpy().tolist() == [["1", "2"], ["0", "1,200"]]


def of(blocks: list[Block], title: str) -> dict[str, list[str]]:
    (block,) = [block for block in blocks if block.title == title]
    return dict(block.rows)


def described(*, min_cell: int = 0, clinical: bool = True, strict: bool = False) -> list[Block]:
    tables = make_tables(30, 6)
    people = make_patients(make_exclusions(tables.ledger)).assign(in_clinical=clinical)
    people.loc[2, "sex"] = ""
    people.loc[3, "age"] = 90
    people.loc[4, "age"] = None
    return describe(tables, make_index(tables.ledger), people, min_cell=min_cell, strict=strict)


def test_the_description_counts_patients() -> None:
    blocks = described()
    included = make_tables(30, 6).split["patient_key"].nunique()
    assert of(blocks, "Size")["patients"][0] == str(included)
    assert sum(int(cells[0]) for cells in of(blocks, "Class").values()) == included
    sexes = of(blocks, "Sex")
    assert sum(int(cells[0]) for cells in sexes.values()) == included
    assert sexes["unknown"][:4] == ["1", "1", "0", "0"]
    classes = [int(sexes["unknown"][GROUPS.index(name)]) for name in CLASSES]
    assert sum(classes) == 1
    ages = of(blocks, "Age group")
    subsets = [GROUPS.index(name) for name in (*SUBSETS, "excluded")]
    assert sum(int(cells[column]) for cells in ages.values() for column in subsets) == 30
    for title in ("Tube voltage", "Scanner vendor", "Sex"):
        by_class = [GROUPS.index(name) for name in CLASSES]
        for cells in of(blocks, title).values():
            assert sum(int(cells[column]) for column in by_class) == int(cells[0])
    assert set(ages) == {"50 to 59", "60 to 69", "70 to 79", "over 89", "unknown"}
    assert of(blocks, "Size")["patients"][GROUPS.index("excluded")] == str(30 - included)
    assert set(of(blocks, "Kernel")) == {"GE BONE", "Siemens BONE"}


def test_small_groups_of_real_patients_are_hidden() -> None:
    for cells in of(described(min_cell=5), "Age group").values():
        assert all(cell in ("hidden", "0") or int(cell) >= 5 for cell in cells)


def test_in_a_strict_description_small_classes_and_kernels_are_hidden_too() -> None:
    strict, loose = (described(min_cell=8, strict=value) for value in (True, False))
    assert "hidden" not in str(of(loose, "Class"))
    for title in ("Class", "Scanner vendor", "Kernel", "Sex", "Age group"):
        for cells in of(strict, title).values():
            assert all(cell in ("", "hidden", "0") or int(cell) >= 8 for cell in cells)


def test_without_a_clinical_table_nothing_is_said_of_sex_and_age() -> None:
    assert "Sex" not in [block.title for block in described(clinical=False)]
