"""Edits of a filter's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.filter import parse
from outrider_dashboard import filter_text


@pytest.mark.parametrize(
    ("text", "field", "value", "after"),
    [
        ("", "service", "etl", "service:etl"),
        ("service:etl", "service", "etl", ""),
        ("service:etl", "service", "bots", "service:(etl OR bots)"),
        ("service:(etl OR bots) x", "service", "etl", "x service:bots"),
        ("-service:etl", "service", "etl", "-service:etl service:etl"),
        ("", "severity", "error", "severity:error"),
        ("severity:error", "severity", "fatal", "severity>=error"),
        ("severity>=error", "severity", "error", "severity:fatal"),
        ("severity>=warn a", "severity", "fatal", "a severity:(warn OR error)"),
        ("a OR b", "host", "h", "(a OR b) host:h"),
        ("", "event", "order.filled", "event:order.filled"),
        ("", "worker", 'we"ird name', 'worker:"we\\"ird name"'),
        ("service:pay*", "service", "etl", "service:(pay* OR etl)"),
        ("service:(/^a b$/ OR etl) x", "service", "etl", "x service:/^a b$/"),
        ("/lost x/ service:a", "service", "a", "/lost x/"),
        ("/service:a or b/", "host", "h", "/service:a or b/ host:h"),
        ('"a service:etl b"', "service", "etl", '"a service:etl b" service:etl'),
    ],
)
def test_toggle(text: str, field: str, value: str, after: str) -> None:
    """A facet's checkbox changes the words of the filter and nothing a person wrote beside them."""
    assert filter_text.toggled(text, field, value) == after
    assert parse(after)


_VALUES = st.text(min_size=1, max_size=20).filter(lambda v: bool(v.strip()) and "\x00" not in v)


@given(_VALUES, st.lists(_VALUES, max_size=3))
def test_a_toggled_value_is_selected_and_parses(value: str, others: list[str]) -> None:
    """Whatever a value holds, toggling it makes a filter that parses, and twice is not at all."""
    text = ""
    for other in others:
        if other not in filter_text.selected(text, "worker"):
            text = filter_text.toggled(text, "worker", other)
    if value in filter_text.selected(text, "worker"):
        return

    once = filter_text.toggled(text, "worker", value)

    parse(once)
    assert value in filter_text.selected(once, "worker")
    twice = filter_text.toggled(once, "worker", value)
    assert filter_text.selected(twice, "worker") == filter_text.selected(text, "worker")


def test_terms_inside_or_are_left_alone() -> None:
    """What stands under OR was put there by hand and is never taken apart."""
    assert filter_text.terms("service:a OR service:b") == []
    assert filter_text.without("service:a OR service:b", "service") == "service:a OR service:b"
