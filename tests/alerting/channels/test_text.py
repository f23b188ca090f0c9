"""Hostile text made harmless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.channels.text import clean, clip, one_line, units


def test_control_and_direction_characters_become_visible() -> None:
    """NUL, ESC, C1, surrogates and direction overrides are replaced; letters and emoji stay."""
    text = "a\x00b\x1b[31mc\x85d\ud800e\u202ef \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f4bb"

    assert clean(text) == (
        "a\ufffdb\ufffd[31mc\ufffdd\ufffde\ufffdf \u05e9\u05dc\u05d5\u05dd"
        " \U0001f468\u200d\U0001f4bb"
    )


def test_one_line_has_no_line_break_of_any_kind() -> None:
    """Whatever breaks a line somewhere is a space or a replacement afterwards."""
    assert one_line(" a\r\nb\rc\n\n\td\u2028e\u00a0f ") == "a b c d\ufffde f"


@given(st.text(), st.integers(0, 50))
def test_clip_keeps_to_its_limit(text: str, limit: int) -> None:
    """Clipped text is never longer in UTF-16 units than asked, and unchanged where it fits."""
    clipped = clip(text, limit)

    assert units(clipped) <= limit
    if units(text) <= limit:
        assert text == clipped


@given(st.text(st.characters()))
def test_clean_text_can_be_encoded(text: str) -> None:
    """Clean text is UTF-8 and has no control character but newline and tab."""
    cleaned = clean(text)

    cleaned.encode()
    assert not [c for c in cleaned if ord(c) < 32 and c not in "\n\t"]
