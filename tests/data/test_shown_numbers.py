"""Protects: a number is the text that Excel shows for it; what a format cannot show is the number itself."""

import pytest

from kotune.data.shown_numbers import plain, shown

MARCH = 45352  # 2024-03-01, a Friday


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        # letters of a format are no codes
        (35, r"0\%", "35%"), (35, '0.0" %"', "35.0 %"), (12, r"0\개", "12개"), (12, '"제"0"호"', "제12호"), (3, 'G/표준"명"', "3명"),
        # only the section for the sign counts
        (0.35, "0%;[Red]-0%", "35%"), (-0.35, "0%;[Red]-0%", "-35%"), (-1234, "#,##0_);(#,##0)", "(1,234)"),
        (0, "#,##0;-#,##0;-", "-"), (-2, "0;0", "2"), (0, "0;-0;", ""),
        (5, '[>=100]0"명";0"건"', "5건"), (7, "[=7]\"일곱\";0", "일곱"),
        # digits
        (0.1 + 0.2, "0.0", "0.3"), (2.5, "0", "3"), (1.005, "0.00", "1.01"), (2, "0.00", "2.00"), (1234.5, "#,##0.0", "1,234.5"),
        (1234567, "#,##0,", "1,235"), (0.5, "# ?/?", "1/2"), (1234, "_-* #,##0_-", "1,234"), (1234, r"\₩#,##0", "₩1,234"),
        (21234567, "00-000-0000", "02-123-4567"), (1234567890, "000-00-00000", "123-45-67890"),
        # dates and times
        (MARCH, "yyyy", "2024"), (MARCH, "yyyy-mm-dd", "2024-03-01"), (MARCH, "yy/m/d", "24/3/1"), (MARCH, "dddd", "Friday"),
        (MARCH, "[$-412]dddd", "금요일"), (MARCH, "aaaa", "금요일"), (MARCH, "[$-ko-KR]yyyy mmmm", "2024 3월"),
        (MARCH + 0.75, "yyyy-mm-dd h:mm:ss", "2024-03-01 18:00:00"), (MARCH, "yyyy-mm-dd h:mm:ss", "2024-03-01"),
        (MARCH + 0.25, "[$-412]AM/PM h:mm", "오전 6:00"), (1.5, "[h]:mm", "36:00"), (MARCH, "[$-F800]dddd, mmmm dd, yyyy", "2024년 3월 1일 금요일"),
        # what cannot be shown
        (-1, "yyyy-mm-dd", "-1"), (9_000_000, "yyyy-mm-dd", "9000000"),
    ],
)  # fmt: skip
def test_shown(value, code, text):
    assert shown(value, code) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(35.0, "35"), (0.1 + 0.2, "0.3"), (1e15, "1000000000000000"), (8501011234567, "8501011234567"), (-0.0, "0"),
     (1e-7, "0.0000001"), (1e25, "1E+25"), (1 / 3, "0.333333333333333")],
)  # fmt: skip
def test_general_keeps_fifteen_digits(value, text):
    assert plain(value) == shown(value, "General") == text
