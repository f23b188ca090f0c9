"""A filter that nobody writes for any more is explained: mistyped, or ended, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outrider.filter import parse
from outrider_collector.store.reading.types import Gauges, Worker
from outrider_collector.terminal.scope import SHOWN, explain

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def worker(
    service: str, name: str, state: str = "up", minutes: int = 5, reason: str = ""
) -> Worker:
    """A worker on host h that came into its state so many minutes ago."""
    since = NOW - timedelta(minutes=minutes)
    return Worker(service, name, "h", 1, state, since, reason, NOW, NOW, Gauges())


FLEET = [
    worker("trading", "orders", "retired", 7, "ended cleanly"),
    worker("trading", "prices", "dead", 3, "killed by SIGKILL"),
    worker("scrapers", "s-1"),
]


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        (
            "service:tradin error",
            "No service `tradin` is known: did you mean `trading`? There are: scrapers, trading.",
        ),
        ("service:qqq", "No service `qqq` is known; there are: scrapers, trading."),
        (
            "service:trading worker:(s-1 OR zz*)",
            "No worker `s-1` or `zz*` is known; there are: orders, prices.",
        ),
        (
            "service:trad*",
            (
                "Nothing more comes, its workers have ended: trading/prices@h at 11:57:00 UTC "
                "(killed by SIGKILL), trading/orders@h at 11:53:00 UTC (ended cleanly)."
            ),
        ),
        ("service:orders", "`orders` is a worker, no service: write worker:orders."),
        ("host:h service:scrapers", "Nothing is being written by scrapers/s-1@h."),
        (
            "-service:trading OR source:run",
            "Nothing that the filter asks for is being written by scrapers/s-1@h.",
        ),
        ("-service:trading boom -severity:debug", "Nothing is being written by scrapers/s-1@h."),
        ("worker:/^s-[0-9]$/ boom", "Nothing is being written by scrapers/s-1@h."),
        (
            "service:scrapers -worker:s-1",
            "No worker belongs to the filter, none of: scrapers/s-1@h.",
        ),
        (
            "service:scrapers worker:/^x/ boom",
            "No worker belongs to the filter, none of: scrapers/s-1@h.",
        ),
        (
            "-(service:scrapers OR worker:/s$/)",
            (
                "No worker belongs to the filter, none of: trading/orders@h, trading/prices@h, "
                "scrapers/s-1@h."
            ),
        ),
    ],
)
def test_the_reason_is_named(filter_: str, said: str) -> None:
    """Names that do not exist come with the nearest and all others, ended workers with times."""
    assert explain(parse(filter_).node, FLEET, NOW) == said


def test_without_any_worker_the_agent_is_looked_at() -> None:
    """An empty fleet is not blamed on the filter."""
    assert "outrider agent check" in explain(parse("service:x").node, [], NOW)


def test_long_lists_are_cut_and_counted() -> None:
    """However many services there are, the sentence stays short."""
    many = [worker(f"service-{i:03}", "w") for i in range(500)]
    said = explain(parse("service:qqq").node, many, NOW)
    assert said.count("service-") == SHOWN
    assert said.endswith("and 490 more.")
