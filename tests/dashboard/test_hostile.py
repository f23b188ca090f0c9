"""Log text shows what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_dashboard import hostile


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 漢字 😀", "plain äöü 漢字 😀"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\x00b\x07c\x7f", "a␀b␇c␡"),
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("zero\u200bwidth\ufeff", "zero<U+200B>width<U+FEFF>"),
        ("two\nlines\tand tab", "two ↵ lines→and tab"),
        ("\x9b31m", "<U+009B>31m"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_what_is_invisible_is_shown(text: str, shown: str) -> None:
    """Controls are symbols, overrides and invisible characters are codes, text stays text."""
    assert hostile.visible(text) == shown


def test_lines_stay_lines() -> None:
    """Where text may have several lines, its breaks and tabs stay and nothing else does."""
    assert hostile.visible_lines("a\r\n\tb\x1bc\r") == "a\n\tb␛c␍"


def test_long_text_is_cut() -> None:
    """A cut is marked, and happens before the work."""
    assert hostile.visible("x" * 50, 10) == "x" * 10 + "…"
    assert hostile.visible_lines("x\n" * 50, 4) == "x\nx\n…"


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "L", "Zl", "Zp"])))
def test_nothing_invisible_is_left(text: str) -> None:
    """No control or direction character survives, whatever the text."""
    shown = hostile.visible(text)

    assert all(ord(c) >= 0x20 and not 0x7F <= ord(c) <= 0x9F for c in shown)
    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f\u2028"
    )
