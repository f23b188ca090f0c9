"""Severities: OpenTelemetry's numbers and the words and levels that mean them."""

from __future__ import annotations

import logging

import pytest

from outrider import severity


def test_every_number_has_the_name_of_its_group() -> None:
    """1 to 24 are six groups of four; numbers beyond are clamped."""
    assert [severity.name(n) for n in range(1, 25)] == [n for n in severity.NAMES for _ in range(4)]
    assert (severity.name(0), severity.name(99)) == ("TRACE", "FATAL")


@pytest.mark.parametrize(
    ("word", "number"),
    [("warning", 13), ("err", 17), ("critical", 21), ("E", 17), ("Info", 9), ("notice", 10),
     ("info2", 10), ("error4", 20), ("17", 17), (5, 5), ("panic", 21), ("loud", None), (0, None),
     (25, None), ("", None), ("info5", None), ("99999999", None), (True, None)],
)  # fmt: skip
def test_words_and_numbers(word: str | int, number: int | None) -> None:
    """Words of many systems, in any case, are understood; anything else is None."""
    assert severity.parse(word) == number


def test_stdlib_levels_rise() -> None:
    """Python's levels map to the severities of their names, rising all the way."""
    named = {
        logging.DEBUG: severity.DEBUG,
        logging.INFO: severity.INFO,
        logging.WARNING: severity.WARN,
        logging.ERROR: severity.ERROR,
        logging.CRITICAL: severity.FATAL,
    }
    assert {level: severity.from_stdlib(level) for level in named} == named
    mapped = [severity.from_stdlib(level) for level in range(61)]
    assert mapped == sorted(mapped)
    assert (mapped[0], mapped[25], mapped[60]) == (1, 11, 21)
