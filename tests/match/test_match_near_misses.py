from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.errors import UserError
from dsnet.match.patients import (
    UnmatchedId,
    check_some_match,
    near_misses,
    write_id_match,
)

WIDE = "\uff30\uff17"
NAMES = st.sets(st.text("01 aA", max_size=4), max_size=8)


def test_near_misses_are_shown_and_never_repaired() -> None:
    ct = ["00123", "A 77", "b9", "1234", "lonely", "same", ""]
    dxa = ["123", "A77", "B9", "1324", "same", "", "0a 77"]
    found = {
        (one.side, one.patient_id): dict(one.near) for one in near_misses({"ct": ct, "dxa": dxa})
    }
    assert found == {
        ("ct", "00123"): {"123": "leading zeros"},
        ("ct", "1234"): {"1324": "a swapped digit"},
        ("ct", "A 77"): {"A77": "blanks", "0a 77": "blanks, case and leading zeros"},
        ("ct", "b9"): {"B9": "case"},
        ("ct", "lonely"): {},
        ("dxa", "0a 77"): dict.fromkeys(("A 77", "A77"), "blanks, case and leading zeros"),
        ("dxa", "123"): {"00123": "leading zeros"},
        ("dxa", "1324"): {"1234": "a swapped digit"},
        ("dxa", "A77"): {"A 77": "blanks", "0a 77": "blanks, case and leading zeros"},
        ("dxa", "B9"): {"b9": "case"},
    }


def test_spellings_are_looked_for_among_all_ids() -> None:
    sides = {
        "ct": ["00123", "123", "1234", "9", "P-7", "ÃÅÕï95", "77", ""],
        "dxa": ["00123", "123", "1324", "9.0", WIDE, "门诊95", "77"],
        "clinical": ["0077", "00123"],
    }
    found = {(one.side, one.patient_id): dict(one.near) for one in near_misses(sides)}
    assert found == {
        ("ct", "00123"): {"123": "leading zeros"},
        ("ct", "123"): {"00123": "leading zeros"},
        ("ct", "1234"): {"1324": "a swapped digit"},
        ("ct", "77"): {"0077": "leading zeros"},
        ("ct", "9"): {"9.0": "a decimal point"},
        ("ct", "P-7"): {WIDE: "signs or full-width letters"},
        ("ct", "ÃÅÕï95"): {"门诊95": "bytes of gb18030"},
        ("dxa", "1324"): {"1234": "a swapped digit"},
        ("dxa", "9.0"): {"9": "a decimal point"},
        ("dxa", WIDE): {"P-7": "signs or full-width letters"},
        ("dxa", "门诊95"): {"ÃÅÕï95": "bytes of gb18030"},
        ("clinical", "0077"): {"77": "leading zeros"},
    }


def test_running_numbers_are_no_near_misses() -> None:
    numbers = [str(number) for number in range(1000, 1400)]
    dxa = [number for number in numbers if number != "1234"]
    assert near_misses({"ct": numbers, "dxa": dxa}) == [UnmatchedId("ct", "1234", ())]


@settings(deadline=None, max_examples=30)
@given(NAMES, NAMES, NAMES)
def test_near_misses_list_everyone_without_a_partner(
    ct: set[str], dxa: set[str], clinical: set[str]
) -> None:
    found = near_misses({"ct": ct, "dxa": dxa, "clinical": clinical})
    listed = {(one.side, one.patient_id) for one in found}
    assert len(listed) == len(found)
    assert listed >= {("ct", name) for name in ct - dxa - {""}}
    assert listed >= {("dxa", name) for name in dxa - ct - {""}}
    assert listed >= {("clinical", name) for name in clinical - ct - {""}}
    for one in found:
        assert {name for name, _ in one.near} <= (ct | dxa | clinical) - {one.patient_id, ""}


def test_a_table_of_other_patients_stops() -> None:
    check_some_match("clinical table", ["1", "2"], ["2", "3"])
    check_some_match("clinical table", [""], ["2"])
    check_some_match("clinical table", ["1"], [])
    with pytest.raises(UserError, match=r"clinical table: .* found 2 patients, none of them among"):
        check_some_match("clinical table", ["01", "02", ""], ["1", "2", "3"])


def test_the_list_holds_no_live_formula(tmp_path: Path) -> None:
    path = tmp_path / "id_match.csv"
    write_id_match(near_misses({"ct": ['=HYPERLINK("http://x")'], "dxa": ["0042"]}), path)
    text = path.read_text(encoding="utf-8")
    assert "\"'=HYPERLINK" in text
    assert "0042" in text
