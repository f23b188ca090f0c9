"""The text that scrapers read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.exposition import LABEL_CHARACTERS, SERIES_MAX, Family, exposition

_SERIES = re.compile(r'up\{name="((?:[^"\\\n]|\\["\\n])*)"\} 1')


def test_a_family_is_help_type_and_its_series() -> None:
    """Whole numbers are written whole, others in full; a family without series says nothing."""
    seconds = Family("commit_seconds", "summary", "How long commits take.\nIn seconds.")
    seconds.add(0.25, quantile="0.5").add(12.5, "_sum").add(40, "_count")

    text = exposition([seconds, Family("empty", "gauge", "Nothing.")]).decode()

    assert text == (
        "# HELP commit_seconds How long commits take.\\nIn seconds.\n"
        "# TYPE commit_seconds summary\n"
        'commit_seconds{quantile="0.5"} 0.25\n'
        "commit_seconds_sum 12.5\n"
        "commit_seconds_count 40\n"
    )


@given(st.text(max_size=2 * LABEL_CHARACTERS))
def test_no_label_breaks_its_line(value: str) -> None:
    """Whatever a label holds, it is one line, and unescaping gives it back, cut."""
    text = exposition([Family("up", "gauge", "Up.").add(1, name=value)]).decode()

    found = _SERIES.fullmatch(text.split("\n", 2)[2].removesuffix("\n"))
    assert found is not None
    unescaped = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[1])
    assert unescaped == value[:LABEL_CHARACTERS].encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("value", "written"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (2**53, str(2**53))],
)
def test_numbers_are_written_as_the_format_says(value: float, written: str) -> None:
    """What is no number has the format's own words."""
    assert exposition([Family("up", "gauge", "Up.").add(value)]).decode().endswith(f" {written}\n")


def test_series_are_counted() -> None:
    """Label values from outside cannot make a scrape grow without end; known ones go on."""
    family = Family("up", "gauge", "Up.")
    for number in range(SERIES_MAX + 5):
        family.add(1, name=str(number))
    family.add(7, name="3")

    text = exposition([family]).decode()

    assert text.count("\n") == SERIES_MAX + 2
    assert 'up{name="3"} 7\n' in text


@pytest.mark.parametrize(
    ("name", "kind"),
    [("1st", "gauge"), ("a-b", "gauge"), ("rows", "counter"), ("a_total", "gauge")],
)
def test_names_that_scrapers_refuse_are_mistakes(name: str, kind: str) -> None:
    """A name is checked where it is written, and not by whoever scrapes."""
    with pytest.raises(ValueError, match=name):
        Family(name, kind, "")  # type: ignore[arg-type]
