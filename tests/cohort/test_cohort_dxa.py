from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsnet.cohort.dxa import PRESETS, read_dxa
from dsnet.cohort.exams import DxaTable, Exam, interval_days, lumbar_mean, printed
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import DXA_COLUMNS, BmdReference, Dxa, DxaReference, TScoreSource
from dsnet.errors import UserError
from dsnet.schemas import REGIONS

HEADER = "patient_id,exam_date,L1_t_score,L2_t_score,L3_t_score,L4_t_score,L1-L4_t_score\n"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "dxa.csv"
    path.write_text(header + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def exam(day: str = "", **scores: str) -> Exam:
    return Exam(2, "1", date.fromisoformat(day) if day else None, decimals(scores))


def decimals(scores: dict[str, str]) -> dict[str, Decimal]:
    return {name.replace("spine", "L1-L4"): Decimal(text) for name, text in scores.items()}


def test_ids_are_text_and_blanks_are_missing(tmp_path: Path) -> None:
    table = read_dxa(
        written(
            tmp_path,
            " 00123 ,2020-02-29,-1.0,,+.5,2,-1.50,",
            ",,,,,,,a remark",
            header=HEADER.strip() + ",note\n",
        )
    )
    (only,) = table.exams["00123"]
    assert only.row == 2
    assert only.date == date(2020, 2, 29)
    assert only.raw == decimals({"L1": "-1.0", "L3": "0.5", "L4": "2", "spine": "-1.5"})
    assert only.t_scores == only.raw
    assert (str(only.t_scores["L1-L4"]), str(only.raw["L1-L4"])) == ("-1.5", "-1.50")
    assert list(table.exams) == ["00123"]


def test_no_table_is_no_exam(tmp_path: Path) -> None:
    assert read_dxa(tmp_path / "dxa.csv") == DxaTable({})


def test_two_tables_are_one_too_many(tmp_path: Path) -> None:
    assert CohortFolder(tmp_path).dxa.name == "dxa.csv"
    (tmp_path / "dxa.xlsx").touch()
    assert CohortFolder(tmp_path).dxa.name == "dxa.xlsx"
    written(tmp_path)
    with pytest.raises(
        UserError, match=r"expected one table dxa\.csv or .* found dxa\.csv and dxa\.x"
    ):
        _ = CohortFolder(tmp_path).dxa


def test_level_columns_are_needed_by_the_readings_that_use_them(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,-1", header="patient_id,exam_date,L1-L4_t_score\n")
    assert read_dxa(path, "patient").exams["1"][0].t_scores["L1-L4"] == Decimal(-1)
    for source in get_args(TScoreSource)[1:]:
        with pytest.raises(UserError, match=r"dxa\.csv row 1: expected a column L1_t_score"):
            read_dxa(path, source)


@pytest.mark.parametrize("column", ["patient_id", "exam_date", "L1-L4_t_score"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = written(tmp_path, header=HEADER.replace(column, "other"))
    with pytest.raises(UserError, match=f"dxa.csv row 1: expected a column {column}"):
        read_dxa(path)


@pytest.mark.parametrize(
    ("cell", "came"),
    [
        ("Meier", "text of 5 characters"),
        ("-1,5,", "text of 5 characters"),
        ("nan", "text of 3 characters"),
        ("1e1", "text of 3 characters"),
        ("-25", "-25"),
        ("10.01", "10.01"),
        ("950413", "a number of 6 characters"),
    ],
)
def test_a_wrong_t_score_names_row_and_column(tmp_path: Path, cell: str, came: str) -> None:
    path = written(tmp_path, "1,2020-01-01,,,,,1", f'2,2020-01-01,,"{cell}",,,1')
    with pytest.raises(UserError) as caught:
        read_dxa(path)
    assert str(caught.value) == (
        "dxa.csv row 3: expected a T-score between -10 and 10, or nothing in column L2_t_score, "
        f"but found {came}; correct the cell."
    )
    assert caught.value.private == cell


@pytest.mark.parametrize("cell", ["01.02.2020", "2020-02-30", "20200101", "2020-W01-1"])
def test_a_malformed_date_is_an_error_that_does_not_repeat_it(tmp_path: Path, cell: str) -> None:
    with pytest.raises(UserError, match=r"dxa\.csv row 2: expected a date as YYYY-MM-DD") as caught:
        read_dxa(written(tmp_path, f"1,{cell},,,,,1"))
    assert cell not in str(caught.value)


def test_rows_that_disagree_are_both_named(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,,,,,1", "2,,,,,,2", "1,2020-01-01,,,,,1.1")
    with pytest.raises(UserError, match=r"dxa\.csv rows 2 and 4: expected one result"):
        read_dxa(path)


def test_rows_that_agree_may_repeat(tmp_path: Path) -> None:
    path = written(
        tmp_path, "1,2020-01-01,,,,,-1.0", "1,2020-01-01,,,,,-1.00", "1,2020-01-02,,,,,-1.0"
    )
    assert [one.row for one in read_dxa(path).exams["1"]] == [2, 4]


def test_the_nearest_exam_counts(tmp_path: Path) -> None:
    path = written(
        tmp_path, "1,2020-06-01,,,,,3", "1,,,,,,0", "1,2020-01-11,,,,,2", "1,2020-01-31,,,,,1"
    )
    table = read_dxa(path)
    days = {"2020-01-01": "2", "2020-01-21": "2", "2020-01-22": "1", "2021-01-01": "3", "": "3"}
    for day, score in days.items():
        nearest = table.nearest("1", day)
        assert nearest is not None
        assert nearest.t_scores["L1-L4"] == Decimal(score)
    assert table.nearest("", "2020-01-01") is None
    assert table.nearest("01", "2020-01-01") is None


def test_an_undated_exam_counts_where_there_is_no_other(tmp_path: Path) -> None:
    nearest = read_dxa(written(tmp_path, "1,,,,,,0")).nearest("1", "2020-01-01")
    assert nearest is not None
    assert nearest.date is None
    with pytest.raises(ValueError, match="without a date"):
        interval_days(nearest, date(2020, 1, 1))


def test_intervals_have_a_sign() -> None:
    assert interval_days(exam("2020-01-11"), date(2020, 1, 1)) == -10


@pytest.mark.parametrize("preset", ["ge_lunar", "hologic"])
def test_a_vendors_export_reads_like_our_own(tmp_path: Path, preset: str) -> None:
    columns = ["patient_id", "exam_date", *(f"{region}_t_score" for region in REGIONS)]
    theirs = [PRESETS[preset][column][0].upper() for column in columns]
    path = written(
        tmp_path, "007;28.02.2020;-1,0;;0,5;2;-1,50", header=";".join(theirs) + ";Note\n"
    )
    (only,) = read_dxa(path, "lowest", Dxa(preset=preset, date_format="%d.%m.%Y")).exams["007"]
    assert only.date == date(2020, 2, 28)
    assert only.t_scores == decimals({"L1": "-1.0", "L3": "0.5", "L4": "2", "spine": "-1.5"})
    with pytest.raises(UserError, match=r"expected a date as DD/MM/YYYY, or nothing"):
        read_dxa(path, "lowest", Dxa(preset=preset, date_format="%d/%m/%Y"))


def test_presets_name_known_columns_and_none_twice() -> None:
    for names in PRESETS.values():
        assert set(names) <= set(DXA_COLUMNS)
        every = [name.lower() for theirs in names.values() for name in theirs]
        assert len(every) == len(set(every))


def test_columns_go_by_the_users_own_names(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,-2", header="Pat-Nr,exam_date,T  gesamt\n")
    own = Dxa(columns={"patient_id": "pat-nr", "L1-L4_t_score": "T gesamt"})
    assert read_dxa(path, "patient", own).exams["1"][0].t_scores == decimals({"spine": "-2"})
    with pytest.raises(ValueError, match="no column hip"):
        Dxa(columns={"hip": "x"})
    with pytest.raises(ValueError, match="a date format with"):
        Dxa(date_format="ISO")


def test_an_excluded_level_has_no_t_score(tmp_path: Path) -> None:
    header = HEADER.strip() + ",L1_invalid,L2_invalid,L3_invalid,L4_invalid\n"
    row = "1,2020-01-01,-1,-2,-3,-4,-2.5,5.397605346934028e-79,6,,yes"
    (only,) = read_dxa(written(tmp_path, row, header=header)).exams["1"]
    assert only.t_scores == decimals({"L1": "-1", "L3": "-3", "spine": "-2.5"})


@pytest.mark.parametrize(
    ("levels", "spine"),
    [
        ({"L1": "-1", "L2": "-1.5", "L3": "-2", "L4": "-2.5"}, "9"),
        ({"L1": "-1", "L2": "-2", "L3": "-1", "L4": "-2"}, "9"),
        ({"L1": "-1", "L2": "-1", "L3": "-2.1", "L4": "-2.1"}, "9"),
        ({"L1": "-2.4", "L2": "-2.5", "L3": "-2.5", "L4": "0.0"}, "-2.5"),
        ({"L1": "-2", "L2": "1", "L3": "-2.1", "L4": "-2.3"}, "-2.1"),
        ({"L1": "-2", "L2": "1"}, None),
        ({"L3": "-2"}, "9"),
    ],
)
def test_iscd_leaves_out_a_level_far_from_its_neighbours(
    levels: dict[str, str], spine: str | None
) -> None:
    mean = lumbar_mean(decimals({**levels, "spine": "9"}))
    assert (None if mean is None else printed(mean)) == (None if spine is None else Decimal(spine))


def test_an_exam_without_lumbar_value_gets_none() -> None:
    assert lumbar_mean(decimals({"L1": "-2", "L2": "1", "L3": "-2", "L4": "-2"})) is None


def test_leaving_out_is_an_option(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,-2,-2.2,-2.4,1,-1.4", "2,2020-01-01,-2,1,,,-0.5")
    tables = {
        reading: read_dxa(path, params=Dxa(outlier_levels=reading))
        for reading in ("keep", "leave_out")
    }
    assert tables["keep"].exams["1"][0].t_scores["L1-L4"] == Decimal("-1.4")
    assert tables["leave_out"].exams["1"][0].t_scores["L1-L4"] == Decimal("-2.2")
    assert tables["leave_out"].exams["1"][0].t_scores["L4"] == Decimal(1)
    assert "L1-L4" not in tables["leave_out"].exams["2"][0].t_scores


def test_t_scores_come_from_bmd_only_with_a_named_reference(tmp_path: Path) -> None:
    young = BmdReference(mean_g_cm2=1.047, sd_g_cm2=0.110)
    params = Dxa(reference=DxaReference(name="young women", regions={"L1-L4": young}))
    header = "patient_id,exam_date,L1-L4_bmd_g_cm2,L1-L4_t_score\n"
    rows = ["1,2020-01-01,0.772,-9", "2,2020-01-01,5.4e-79,-9", "3,2020-01-01,,-9"]
    exams = read_dxa(written(tmp_path, *rows, header=header), "patient", params).exams
    assert exams["1"][0].t_scores == decimals({"spine": "-2.5"})
    assert not exams["2"][0].t_scores
    assert not exams["3"][0].t_scores
    with pytest.raises(UserError, match=r"expected a bone mineral density .* text of 5 char"):
        read_dxa(written(tmp_path, "1,2020-01-01,1.0 g,", header=header), "patient", params)
    with pytest.raises(UserError, match="expected a column L1-L4_bmd_g_cm2"):
        read_dxa(written(tmp_path, "1,2020-01-01,,,,,1"), "patient", params)


def test_a_hip_scan_neither_contradicts_nor_competes(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "1,2020-01-01,,,,,,-1.9",
        "1,2020-01-01,,,,,-2.8,",
        "1,2020-06-01,,,,,,-1.9",
        "2,2020-06-01,,,,,,-1.9",
        header=HEADER.strip() + ",neck_t_score\n",
    )
    table = read_dxa(path)
    assert [(one.row, dict(one.raw)) for one in table.exams["1"]] == [
        (3, {"L1-L4": Decimal("-2.8")}),
        (4, {}),
    ]
    nearest = table.nearest("1", "2020-06-02")
    assert nearest is not None
    assert nearest.row == 3
    hip = table.nearest("2", "2020-06-02")
    assert hip is not None
    assert hip.raw == {}


def test_what_cannot_label_does_not_compete(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,,,,,-2.8", "1,2020-06-01,-1.0,-1.1,,,")
    rows = {
        source: read_dxa(path, source).nearest("1", "2020-06-02")
        for source in get_args(TScoreSource)
    }
    assert {source: one and one.row for source, one in rows.items()} == {
        "patient": 2,
        "vertebra": 3,
        "lowest": 3,
    }


def test_one_row_per_level_is_one_exam(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2020-01-01,-1.5,,,,", "1,2020-01-01,,-2.5,,,-2.0")
    (only,) = read_dxa(path).exams["1"]
    assert only.raw == decimals({"L1": "-1.5", "L2": "-2.5", "spine": "-2.0"})
    path = written(tmp_path, "1,2020-01-01,-1.5,,,,", "1,2020-01-01,-1.4,-2.5,,,-2.0")
    with pytest.raises(UserError, match="rows 2 and 3: expected one result"):
        read_dxa(path)


@pytest.mark.parametrize(
    ("site", "lumbar"),
    [
        ("AP Spine", True),
        ("LWS", True),
        ("", True),
        ("Left Femur", False),
        ("Lateral Spine", False),
    ],
)
def test_a_scan_of_another_site_has_no_lumbar_value(
    tmp_path: Path, site: str, *, lumbar: bool
) -> None:
    header = "patient_id,exam_date,Region of scan,T\n"
    path = written(tmp_path, f"1,2020-01-01,{site},-2.8", header=header)
    params = Dxa(columns={"scan_site": "region of scan", "L1-L4_t_score": "T"})
    (only,) = read_dxa(path, params=params).exams["1"]
    assert only.raw == ({"L1-L4": Decimal("-2.8")} if lumbar else {})
    path = written(tmp_path, "1,2020-01-01,AB,-2.8", header=header)
    with pytest.raises(UserError, match="expected lumbar spine, or another site such as femur"):
        read_dxa(path, params=params)


@given(st.decimals(-9, 9, places=4))
def test_a_t_score_is_graded_as_it_is_printed(t_score: Decimal) -> None:
    whole, rest = divmod(abs(t_score) * 10, 1)
    tenths = (whole + (rest >= Decimal("0.5"))) / 10
    assert printed(t_score) == tenths.copy_sign(t_score)
    assert abs(printed(t_score) - t_score) <= Decimal("0.05")


def test_decimals_are_rounded_once_or_not_at_all(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "1,2020-01-01,,,,,-2.4727",
        '2,2020-01-01,,,,,"-1,0409"',
        "3,2020-01-01,,,,,-2.4499999999999997",
        "4,2020-01-01,-2.44,-2.44,-2.48,0.5,-1.7",
        "5,2020-01-01,,,,,-1.50",
    )
    table = read_dxa(path)
    spine = {name: one.t_scores["L1-L4"] for name, (one,) in table.exams.items()}
    assert spine == {
        "1": Decimal("-2.5"),
        "2": Decimal("-1.0"),
        "3": Decimal("-2.5"),
        "4": Decimal("-1.7"),
        "5": Decimal("-1.5"),
    }
    assert [table.exams[name][0].raw["L1-L4"] for name in "13"] == [
        Decimal("-2.4727"),
        Decimal("-2.45"),
    ]
    # If the levels were rounded first, their mean would be -2.4.
    (fourth,) = read_dxa(path, params=Dxa(outlier_levels="leave_out")).exams["4"]
    assert fourth.raw["L1-L4"] == Decimal("-2.45333333333333")
    assert fourth.t_scores["L1-L4"] == Decimal("-2.5")
    exact = read_dxa(path, params=Dxa(decimals="exact"))
    assert exact.exams["1"][0].t_scores["L1-L4"] == Decimal("-2.4727")


def test_whole_numbers_alone_have_lost_their_decimals(tmp_path: Path) -> None:
    rows = [f"{n},2020-01-01,,,,,-{n % 4}" for n in range(6)]
    with pytest.raises(UserError, match="expected T-scores with a decimal, but found 6, all of"):
        read_dxa(written(tmp_path, *rows))
    assert len(read_dxa(written(tmp_path, *rows[:5])).exams) == 5
    assert len(read_dxa(written(tmp_path, *rows, "9,2020-01-01,,,,,-1.5")).exams) == 7


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ("1.1,1.0,0.9,1.2,-2.3", False),
        ("1.1,1.0,0.9,1.2,1.5", False),
        ("1.1,1.0,0.9,1.2,1.4", True),
        ("-2.0,-2.0,-2.0,-2.0,-2.2", True),
        ("-1.0,-1.1,,-1.2,-2.0", True),
        ("-1.0,-1.1,,-1.2,-2.3", False),
        ("-1.0,,,,-3.0", True),
    ],
)
def test_a_spine_outside_its_levels_stops(tmp_path: Path, row: str, *, fits: bool) -> None:
    path = written(tmp_path, f"1,2020-01-01,{row}")
    assert len(read_dxa(path, params=Dxa(spine_outside_levels="keep")).exams) == 1
    if fits:
        assert len(read_dxa(path).exams) == 1
        return
    with pytest.raises(UserError, match="row 2: expected a T-score between those of its levels"):
        read_dxa(path)


def test_dates_that_a_spreadsheet_may_have_swapped_stop(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["patient_id", "exam_date", "L1-L4_t_score"])
    sheet.append(["1", datetime(2017, 7, 9), -1.5])
    sheet.append(["2", "22/04/2019", -2.5])
    book.save(tmp_path / "dxa.xlsx")
    params = Dxa(date_format="%d/%m/%Y")
    with pytest.raises(
        UserError, match=r"rows 2 and 3: .* a date cell or ISO beside text"
    ) as caught:
        read_dxa(tmp_path / "dxa.xlsx", params=params)
    assert "2017" not in str(caught.value)
    sheet["B3"] = datetime(2019, 4, 22)
    book.save(tmp_path / "dxa.xlsx")
    days = [one.date for (one,) in read_dxa(tmp_path / "dxa.xlsx", params=params).exams.values()]
    assert days == [date(2017, 7, 9), date(2019, 4, 22)]


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        (("07/09/2017", "22/04/2019"), ""),
        (("7/9/2017", "22/4/2019"), ""),
        (("2017-09-07", "22/04/2019"), "a date cell or ISO beside text"),
        (("9/7/2017", "22/04/2019"), "days or months without a leading zero beside with a"),
    ],
)
def test_dates_of_one_column_are_of_one_kind(
    tmp_path: Path, days: tuple[str, str], sentence: str
) -> None:
    path = written(tmp_path, *(f"{n},{day},,,,,-1.5" for n, day in enumerate(days)), "9,,,,,,-1.5")
    if sentence:
        with pytest.raises(UserError, match=f"rows 2 and 3: .* found {sentence}"):
            read_dxa(path, params=Dxa(date_format="%d/%m/%Y"))
    else:
        assert len(read_dxa(path, params=Dxa(date_format="%d/%m/%Y")).exams) == 3


@pytest.mark.parametrize(
    ("days", "proposed"),
    [
        (("07/09/2017", "04/22/2019"), '"%m/%d/%Y"'),
        (("07/09/2017", "22/04/2019"), '"%d/%m/%Y"'),
        (("07/09/2017", "04/05/2019"), '"%d/%m/%Y" or "%m/%d/%Y"'),
        (("07/09/2017", "unknown"), '"%d/%m/%Y" or "%m/%d/%Y"'),
    ],
)
def test_the_column_tells_which_date_format_to_set(
    tmp_path: Path, days: tuple[str, str], proposed: str
) -> None:
    path = written(tmp_path, *(f"{n},{day},,,,,-1.5" for n, day in enumerate(days)))
    with pytest.raises(UserError) as caught:
        read_dxa(path)
    assert f"or set dxa.date_format: {proposed}." in str(caught.value)


def test_apexs_database_names_are_read(tmp_path: Path) -> None:
    header = "IDENTIFIER1,SCAN_DATE,SCAN_TYPE,L1_BMD,L2_BMD,TOT_BMD,L1_INCLUDED,L2_INCLUDED\n"
    rows = ["007,2020-01-01,1,0.9,0.772,0.772,0,1", "007,2020-01-02,6,,,0.9,0,0"]
    young = BmdReference(mean_g_cm2=1.047, sd_g_cm2=0.110)
    reference = DxaReference(
        name="young women", regions=dict.fromkeys(("L1", "L2", "L1-L4"), young)
    )
    path = written(tmp_path, *rows, header=header)
    spine, hip = read_dxa(path, params=Dxa(preset="hologic", reference=reference)).exams["007"]
    assert spine.t_scores == decimals({"L2": "-2.5", "spine": "-2.5"})
    assert hip.raw == {}


def test_encores_words_are_read_from_unicode_text(tmp_path: Path) -> None:
    header = "Patient ID\tMeasure Date\tL1-L4 BMD (g/cm²)\tL1-L4 YA T-score\n"
    path = tmp_path / "dxa.csv"
    path.write_bytes((header + "007\t28.02.2020\t0,9\t-2,3\n").encode("utf-16"))
    (only,) = read_dxa(path, params=Dxa(preset="ge_lunar", date_format="%d.%m.%Y")).exams["007"]
    assert only.raw == {"L1-L4": Decimal("-2.3")}


def test_values_without_a_patient_stop(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dxa.csv row 3: expected an ID beside the values"):
        read_dxa(written(tmp_path, "1,2020-01-01,,,,,-1.5", ",2020-06-01,,,,,-2.8"))


@pytest.mark.parametrize(
    ("sites", "stops"),
    [
        (("AP Spine", "Left Femur"), True),
        (("AP Spine", "Lumbar Spine"), False),
        (("AP Spine", "hip replaced; see L1"), False),
        (("", "Left Femur"), False),
    ],
)
def test_a_site_that_no_column_is_said_to_hold_stops(
    tmp_path: Path, sites: tuple[str, str], *, stops: bool
) -> None:
    rows = [f"{n},2020-01-01,,,,,-1.5,{site}" for n, site in enumerate(sites)]
    path = written(tmp_path, *rows, header=HEADER.strip() + ",Region\n")
    if stops:
        with pytest.raises(UserError, match=r"dxa\.csv row 3: .* one in a row of another site;"):
            read_dxa(path)
    else:
        assert len(read_dxa(path).exams) == 2
    named = Dxa(columns={"scan_site": "region"})
    if stops:
        assert [one.raw == {} for (one,) in read_dxa(path, params=named).exams.values()] == [
            False,
            True,
        ]
