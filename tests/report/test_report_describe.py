import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_results import Made, make_index, make_tables

from dsnet.report.describe import GROUPS, Block, describe, suppress
from dsnet.report.people import age_of, read_people, sex_of
from dsnet.report.vault import identities

CATEGORIES = ["a", "b", "c", "d"]


def counted(rows: list[list[int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=CATEGORIES[: len(rows)], columns=["train", "test"])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=2), min_size=2, max_size=4))
def test_no_small_number_is_shown_or_follows_from_the_sum(rows: list[list[int]]) -> None:
    counts = counted(rows)
    shown = suppress(counts, 5)
    hidden = (shown == "hidden").all(axis=1)
    small = ((counts > 0) & (counts < 5)).any(axis=1)
    assert (hidden | ~small).all()
    assert ((shown == "hidden").any(axis=1) == hidden).all()
    others = counts[~hidden].sum(axis=1)
    assert hidden.sum() != 1 or not (others > 0).any()
    for name in counts.index[~hidden]:
        assert list(shown.loc[name]) == [str(count) for count in counts.loc[name]]


def test_nothing_is_hidden_when_nothing_is_asked() -> None:
    shown = suppress(counted([[1, 2], [0, 1200]]), 0)
    assert shown.to_numpy().tolist() == [["1", "2"], ["0", "1,200"]]


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("63", 63),
        ("063Y", 63),
        ("63.5", 63),
        ("63,5 y", 63),
        ("89", 89),
        ("94", 90),
        ("", None),
        ("old", None),
        ("1950-01-01", None),
    ],
)
def test_ages_are_read_and_capped(text: str, age: int | None) -> None:
    assert age_of(text) == age


def test_sexes_are_read_in_the_forms_that_tables_use() -> None:
    assert [sex_of(t) for t in ("F", "w", " Male", "M", "O", "", "x")] == [
        "female",
        "female",
        "male",
        "male",
        "other",
        "unknown",
        "unknown",
    ]


def of(blocks: list[Block], title: str) -> dict[str, list[str]]:
    (block,) = [block for block in blocks if block.title == title]
    return dict(block.rows)


def test_the_description_counts_patients(made: Made) -> None:
    tables = make_tables(30, 6)
    people = read_people(made.config.cohort, identities(made.config.cohort, made.config.private))
    blocks = describe(tables, make_index(tables.ledger), people, min_cell=0)
    included = tables.split["patient_key"].nunique()
    assert of(blocks, "Size")["patients"][0] == str(included)
    assert sum(int(cells[0]) for cells in of(blocks, "Class").values()) == included
    assert sum(int(cells[0]) for cells in of(blocks, "Sex").values()) == included
    ages = of(blocks, "Age group")
    assert sum(int(cell) for cells in ages.values() for cell in cells[1:]) == 30
    assert set(ages) == {"50 to 59", "60 to 69", "70 to 79"}
    assert of(blocks, "Size")["patients"][GROUPS.index("excluded")] == str(30 - included)
    assert set(of(blocks, "Kernel")) == {"GE BONE", "Siemens BONE"}


def test_small_groups_of_real_patients_are_hidden(made: Made) -> None:
    tables = make_tables(30, 6)
    people = read_people(made.config.cohort, identities(made.config.cohort, made.config.private))
    blocks = describe(tables, make_index(tables.ledger), people, min_cell=5)
    for cells in of(blocks, "Age group").values():
        assert all(cell in ("hidden", "0") or int(cell) >= 5 for cell in cells)


def test_without_the_map_nothing_is_said_of_sex_and_age(made: Made) -> None:
    assert read_people(made.config.cohort, None) is None
    tables = make_tables(10, 4)
    titles = [b.title for b in describe(tables, make_index(tables.ledger), None, min_cell=0)]
    assert "Sex" not in titles


def test_without_the_key_there_is_no_map(made: Made) -> None:
    elsewhere = made.config.results
    assert identities(elsewhere, elsewhere) is None
