"""The event catalogue."""

from __future__ import annotations

import re

import pytest

from outrider import severity, taxonomy
from outrider.taxonomy import EventClass


def test_names_and_numbers_are_well_formed_and_unique() -> None:
    """Every name is category.action of at most 64 characters; no two events share a number."""
    for name, event in taxonomy.EVENTS.items():
        assert name == event.name
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
        assert len(name) <= taxonomy.MAX_NAME_LENGTH
    numbers = [event.number for event in taxonomy.EVENTS.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("name", "number", "event_class", "level"),
    [
        ("worker.started", 2002, EventClass.OPS, severity.INFO),
        ("worker.stopped", 2008, EventClass.OPS, severity.INFO),
        ("worker.died", 2011, EventClass.OPS, severity.ERROR),
        ("order.filled", 4013, EventClass.AUDIT, severity.INFO),
        ("order.outcome_unknown", 4016, EventClass.AUDIT, severity.ERROR),
        ("auth.login_failed", 8002, EventClass.SECURITY, severity.WARN),
        ("config.changed", 10002, EventClass.AUDIT, severity.INFO),
        ("pipeline.quarantined", 17007, EventClass.OPS, severity.ERROR),
        ("app.unclassified", 99001, EventClass.APP, severity.INFO),
    ],
)
def test_published_entries_stay(
    name: str, number: int, event_class: EventClass, level: int
) -> None:
    """Numbers and classes once given stay: an insertion in the middle of a row fails here."""
    assert taxonomy.EVENTS[name] == (name, number, event_class, level)
    assert taxonomy.check(name).original is None


@pytest.mark.parametrize("name", ["order.teleported", "nonsense", "", "app.Bad-Name", "x" * 200])
def test_an_unknown_name_is_kept(name: str) -> None:
    """What is not in the catalogue becomes app.unclassified with its own name beside it."""
    checked = taxonomy.check(name)

    assert checked.event.name == "app.unclassified"
    assert checked.original == name


def test_own_names_of_category_app_are_free() -> None:
    """app.anything is a name of the user's own."""
    checked = taxonomy.check("app.cache_warmed")

    assert (checked.event.name, checked.original) == ("app.cache_warmed", None)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (b'{"class":"audit","actor":"anna"}', True),
        (b'{"actor": "anna", "class" : "audit"}', True),
        (b'{"class":"audited"}', False),
        (b"{}", False),
        (None, False),
    ],
)
def test_what_the_audit_call_wrote_says_so(attributes: bytes | None, expected: bool) -> None:
    """Agent and collector take the same records for audit records."""
    assert taxonomy.says_audit(attributes) is expected
