from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.cohort.identity import lone_ids

NAMES = st.sets(st.text("01 aA", max_size=4), max_size=8)


def test_near_misses_are_shown_and_never_repaired() -> None:
    ct = ["00123", "A 77", "b9", "1234", "lonely", "same", ""]
    dxa = ["123", "A77", "B9", "1324", "same", "", "0a 77"]
    found = {(one.side, one.patient_id): dict(one.near) for one in lone_ids(ct, dxa)}
    assert found == {
        ("ct", "00123"): {"123": "leading zeros"},
        ("ct", "1234"): {"1324": "a swapped digit"},
        ("ct", "A 77"): {"A77": "blanks", "0a 77": "blanks, case and leading zeros"},
        ("ct", "b9"): {"B9": "case"},
        ("ct", "lonely"): {},
        ("dxa", "0a 77"): {"A 77": "blanks, case and leading zeros"},
        ("dxa", "123"): {"00123": "leading zeros"},
        ("dxa", "1324"): {"1234": "a swapped digit"},
        ("dxa", "A77"): {"A 77": "blanks"},
        ("dxa", "B9"): {"b9": "case"},
    }


@settings(deadline=None, max_examples=30)
@given(NAMES, NAMES)
def test_everyone_without_a_partner_is_listed_once(ct: set[str], dxa: set[str]) -> None:
    found = lone_ids(ct, dxa)
    assert {one.patient_id for one in found if one.side == "ct"} == ct - dxa - {""}
    assert {one.patient_id for one in found if one.side == "dxa"} == dxa - ct - {""}
    assert len(found) == len({(one.side, one.patient_id) for one in found})
    for one in found:
        assert {name for name, _ in one.near} <= (dxa if one.side == "ct" else ct)
        assert one.patient_id not in dict(one.near)
