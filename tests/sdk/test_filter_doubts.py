"""What was perhaps meant otherwise."""

from __future__ import annotations

import pytest

from outrider.filter import doubts, parse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a and b", ["`and` is a word here; `AND` is the operator"]),
        ("a || -(b not c)", ["`||` is a word here; `OR` is the operator",
                             "`not` is a word here; `NOT` is the operator"]),
        ("foo|bar", ["`foo|bar` is searched with its `|`; `foo OR bar` finds one or the other"]),
        ("attrs.order_id attrs.order_id", [
            "`attrs.order_id` is searched as a word; `attrs.order_id:*` finds records that have it"
        ]),
        ("error_code", [
            "`error_code` is searched as a word; `error_code:*` finds records that have it"
        ]),
        ('timeout "a and b" service:and /a|b/ a AND b OR host', []),
    ],
)  # fmt: skip
def test_words_that_read_like_something_else_are_named(text: str, said: list[str]) -> None:
    """Each once, with what would work, which is a filter; what is quoted was meant."""
    assert doubts(parse(text).node) == said
