import pandas as pd
import pytest

from dsnet.errors import UserError
from dsnet.ingest.step import check_unexpected, recurring


def index(*faults: tuple[str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(faults, columns=["fault", "fault_class", "fault_frame"])
    return frame.assign(file_key=[f"F-{number:016x}" for number in range(len(frame))])


SAME = ("unexpected_content", "KeyError", "dicom/header.py:7 read")
ONCE = ("unexpected_content", "TypeError", "dicom/pixels.py:9 measure")
DIED = ("decode_error", "SIGSEGV", "")


def test_the_same_exception_from_several_files_looks_like_the_program() -> None:
    assert recurring(index(("", "", ""), ONCE, DIED, DIED)) == []
    (sentence,) = recurring(index(*[SAME] * 4, ONCE))
    assert sentence.startswith(
        "4 files (F-0000000000000000, F-0000000000000001, F-0000000000000002, ...) raised "
        "KeyError in dicom/header.py:7 read: this looks like a fault of the program."
    )


def test_too_many_stop_the_run() -> None:
    rows = index(*[("", "", "")] * 97, SAME, SAME, ONCE)
    check_unexpected(rows, 0.03)
    with pytest.raises(
        UserError, match=r"3 of 100, most often KeyError in dicom/header\.py:7 read"
    ):
        check_unexpected(rows, 0.029)
    check_unexpected(index(DIED), 0)
