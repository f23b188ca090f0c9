"""The one filter language on an alert's labels."""

from __future__ import annotations

import pytest

from outrider.filter import parse

LABELS = {"rule": "payment-errors", "service": "payments", "priority": "warning",
          "severity": "error", "count": "12", "team": "",
          "summary": "12 errors on web-3"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("rule:payment-errors", True),
        ("rule:payment*", True),
        ("rule:payment", False),
        ("priority>=info", True),
        ("priority>=warning", True),
        ("priority>=critical", False),
        ("priority<critical", True),
        ("priority:warning", True),
        ("severity>=warn", True),
        ("severity:fatal", False),
        ("count>9", True),
        ("count<=11", False),
        ("summary>1", False),
        ('team>="a"', False),
        ('rule>"payment" rule<"q"', True),
        ("team:*", False),
        ("nothing:x", False),
        ("-nothing:x", True),
        ("web-3 ERRORS", True),
        ('"errors on"', True),
        ("error*", True),
        ("err", False),
        ("attrs.rule:payment-errors", True),
        ("service:(a OR payments) -rule:other", True),
    ],
)
def test_labels(text: str, *, expected: bool) -> None:
    """Comparisons, the ladder of priorities, words and negation work on labels."""
    assert parse(text, labels=True).match_labels(LABELS) is expected


def test_a_label_that_is_no_priority_is_on_no_step() -> None:
    """An unknown priority is neither above nor below any other."""
    labels = {"priority": "urgent"}

    assert not parse("priority>=info", labels=True).match_labels(labels)
    assert not parse("priority<critical", labels=True).match_labels(labels)


def test_expressions_on_labels() -> None:
    """Regular expressions look into every label, or into the one named."""
    assert parse(r"/web-\d/", labels=True).match_labels(LABELS)
    assert parse(r"rule:/^pay/", labels=True).match_labels(LABELS)
