import pytest

from finbert2.errors import UserError
from finbert2.topics.titles import FEWEST, month, read_titles


def test_empty_titles_go_and_equal_ones_are_one(tmp_path):
    path = tmp_path / "titles.csv"
    path.write_text("metadata,industry\n甲,银行\n ,银行\n乙,\n甲,汽车\n", encoding="utf-8")
    titles = read_titles(path)
    assert titles.texts == ["甲", "乙", "甲"] and titles.unique == ["甲", "乙"] and titles.dropped == 1
    assert titles.weights.tolist() == [2, 1] and titles.first_in_file().tolist() == [0, 2]
    assert titles.column("industry") == ["银行", "", "汽车"] and titles.months() is None


def test_missing_column_and_too_few_titles(tmp_path):
    path = tmp_path / "titles.csv"
    path.write_text("name\n甲\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2 has no 'title' or 'metadata': it has 'name'"):
        read_titles(path)
    with pytest.raises(UserError, match="no 'titel'"):
        read_titles(path, "titel")
    assert read_titles(path, "name").texts == ["甲"]
    path.write_text("title\n" + "都一样\n" * 50, encoding="utf-8")
    with pytest.raises(UserError, match=f"1 distinct titles in 50 rows .* at least {FEWEST}"):
        read_titles(path, fewest=FEWEST)


@pytest.mark.parametrize(
    "date", ["2024-03-01", "2024/3/1", "2024.3.1", "20240301", "2024年3月1日", " 2024-03-01 09:30:00"]
)
def test_dates_in_any_spelling(date):
    assert month(date) == "2024-03"


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("2024-12", "2024-12"),
        ("2024/11", "2024-11"),
        ("202412", "2024-12"),
        ("2024年12月", "2024-12"),
        ("2024-10", "2024-10"),
        ("2024-03", "2024-03"),
        ("2024.3 ", "2024-03"),
        ("2024年3月份", "2024-03"),
    ],
)
def test_a_month_needs_no_day(date, found):
    assert month(date) == found


@pytest.mark.parametrize(
    "date", ["", "2024-13-01", "2024-02-30", "昨天", "3/1/24", "2024", "2024-13", "2024-12-", "45292", "20241"]
)
def test_impossible_dates(date):
    assert month(date) == ""


def test_a_code_of_zero_is_a_value(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"title": "甲", "industry": 0}\n{"title": "乙", "industry": null}\n', encoding="utf-8")
    assert read_titles(path, fewest=1).column("industry") == ["0", ""]


def test_a_column_that_the_first_row_lacks_is_found(tmp_path):
    path = tmp_path / "titles.jsonl"
    rows = (
        '{"title": "甲"}',
        '{"title": "乙", "industry": " 银行", "date_str": "2024-02"}',
        '{"title": "丙", "date": "2024-03"}',
    )
    path.write_text("\n".join(rows), encoding="utf-8")
    titles = read_titles(path)
    assert titles.column("industry") == ["", "银行", ""] and titles.column("org") is None
    assert titles.months() == ["", "2024-02", "2024-03"]
    assert titles.columns() == ["title", "industry", "date_str", "date"]


def test_a_bad_date_is_named_and_stops_nothing(tmp_path, caplog):
    path = tmp_path / "titles.csv"
    path.write_text("title,date_str\n甲,2024-01-05\n乙,2024-15-01\n丙,\n", encoding="utf-8")
    assert read_titles(path).months() == ["2024-01", "", ""]
    assert "1 dates" in caplog.text and "line 3, '2024-15-01'" in caplog.text


def test_titles_of_another_language_among_chinese_ones_are_told(tmp_path, caplog):
    path = tmp_path / "titles.csv"
    path.write_text("title\n银行周报\n汽车周报\nWeekly report on banks\n", encoding="utf-8")
    assert len(read_titles(path).texts) == 3
    assert "1 of 3 titles have no Chinese character (the first: 'Weekly report on banks')" in caplog.text
    caplog.clear()
    path.write_text("title\nWeekly\nMonthly\n", encoding="utf-8")
    assert len(read_titles(path).texts) == 2 and caplog.text == ""  # all foreign: that is meant
