"""What is known of a pattern without looking at any text."""

from __future__ import annotations

import sys
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outrider.filter.expressions import (
    ExpressionError,
    expression_test,
    in_any_case,
    required_texts,
)


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (r"lost after \d+ ms", ["lost after ", " ms"]),
        ("ab+c", ["ab", "c"]),
        ("ab*c?d{2}e", ["a", "e"]),
        (r"^\[pool\/(a|b)\] x.y$", ["[pool/", "] x", "y"]),
        ("a|bcd", []),
        ("(?i)abc", []),
        ("(?i:abc)de", ["de"]),
        ("[(]a[])]b", ["a", "b"]),
        (r"\x{41}bc", []),
        (r"a{b", ["b"]),
        ("é[^é]日本", ["é", "日本"]),
        ("[[:alpha:]]abc", []),
        (r"\Q(\Eabc", []),
    ],
)
def test_required_texts(pattern: str, texts: list[str]) -> None:
    """Letters that no match can be without are known; anything doubtful is left out."""
    expression_test(pattern)

    assert required_texts(pattern) == texts


_pieces = st.sampled_from(
    ["a", "b", "é", "ab", ".", "*", "+", "?", "{2}", "{0,1}", "{", "}", "|", "(", ")", "(?:",
     "(?i)", "(?i:", "[ab]", "[^a]", "[]a]", "[", "]", "^", "$", r"\d", r"\.", r"\b", r"\Q", r"\E",
     r"\x41", r"\\", r"\pL", "-", ":", ","]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(_pieces, min_size=1, max_size=9).map("".join), st.text("abé1.A(-{}:,\\[]", max_size=12)
)
def test_every_match_holds_what_is_required(pattern: str, text: str) -> None:
    """Wherever RE2 finds a pattern, the texts said to be required stand too."""
    try:
        found = expression_test(pattern)
    except ExpressionError:
        return
    if found(text):
        assert all(one in text for one in required_texts(pattern))


@given(text=st.text("aBz-.(\\\0{1", min_size=1, max_size=5), held=st.binary(max_size=8))
@example(text="(a", held=b"x(A\xff")
@example(text="z" * 64, held=b"Z" * 64)
def test_a_text_is_found_in_any_case(text: str, held: bytes) -> None:
    """Letters match both of their cases; every other character, and any byte beside, itself.

    It is so with RE2 and where it is not installed.
    """
    found = in_any_case(text)
    with patch.dict(sys.modules, {"re2": None}):
        found_without = in_any_case(text)
    for whole in (held, held + text.encode() + held, held + text.upper().encode()):
        expected = text.lower().encode() in whole.lower()
        assert found(whole) == found_without(whole) == expected


def test_a_pattern_without_its_package_is_refused_with_the_name_of_it() -> None:
    """Who may not have RE2 is told what to install, not which module is missing."""
    with (
        patch.dict(sys.modules, {"re2": None}),
        pytest.raises(ExpressionError, match="need the package google-re2"),
    ):
        expression_test("a+")
