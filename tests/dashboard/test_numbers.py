"""How numbers are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_dashboard import numbers
from outrider_dashboard.timing import MINUS


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (21_806, "21,806"), (999_999, "999,999"), (1_200_000, "1.2 million"),
     (34e6, "34 million"), (2.5e9, "2.5 billion"), (-1234, f"{MINUS}1,234")],
)  # fmt: skip
def test_count(number: float, text: str) -> None:
    """Counts have commas, and from a million on the word."""
    assert numbers.count(number) == text


def test_exact() -> None:
    """Where every digit is evidence, every digit is written."""
    assert numbers.exact(18_402_118) == "18,402,118"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (54, "54"), (800, "800"), (1200, "1.2k"), (2000, "2.0k"), (46_000, "46k"),
     (999_700, "1.0M"), (3.1e6, "3.1M")],
)  # fmt: skip
def test_compact(number: float, text: str) -> None:
    """Tiles and axes write thousands as k."""
    assert numbers.compact(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (96_000, "96 kB"), (2_100_000, "2.1 MB"), (412e9, "412 GB")],
)
def test_file_size(number: float, text: str) -> None:
    """Files are counted in powers of ten."""
    assert numbers.file_size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(2 * 2**30, "2.00 GiB"), (38 * 2**20, "38 MiB"), (2**20, "1.0 MiB")]
)
def test_memory_size(number: float, text: str) -> None:
    """Memory and its limits are counted in powers of two, and say so."""
    assert numbers.memory_size(number) == text


def test_small_forms() -> None:
    """Shares, rates, offsets, words and plurals read as a person writes them."""
    assert numbers.percent(0.091) == "9.1 %"
    assert numbers.percent(0.78) == "78 %"
    assert numbers.per_second(684, "lines") == "684 lines/s"
    assert numbers.per_second(0.4, "lines") == "0.4 lines/s"
    assert numbers.signed_ms(12) == "+12 ms"
    assert numbers.signed_ms(-61) == f"{MINUS}61 ms"
    assert numbers.signed_ms(0.2) == "0 ms"
    assert (numbers.word(4), numbers.word(13)) == ("four", "13")
    assert (numbers.plural(1, "line"), numbers.plural(37, "line")) == ("1 line", "37 lines")
    assert numbers.measure(5.0) == "5"
    assert numbers.measure(2.5) == "2.5"


@given(st.floats(min_value=0, max_value=9e14))
def test_units_never_overflow(number: float) -> None:
    """No form writes a thousand of a unit that has a next one."""
    assert not numbers.file_size(number).startswith("1000 ")
    assert not numbers.compact(number).startswith("1000")
