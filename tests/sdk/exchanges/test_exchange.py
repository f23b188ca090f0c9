"""An exchange is looked at as a user has it: by its preset, over HTTP, against a local server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outrider.configuration import Source
from outrider.exchanges import Exchange, load
from outrider.probes.deadline import Deadline
from outrider.probes.keys import Keys
from tests.sdk.exchanges.fake import (
    CLOSED,
    NO_ANSWER,
    REACH,
    STATUS,
    TIME,
    Reply,
    announcement,
    bybit_entry,
    js,
    okx_entry,
)
from tests.sdk.exchanges.watching import PATIENCE_S, each

if TYPE_CHECKING:
    from tests.sdk.exchanges.watching import Watched


@each()
def test_all_is_well(watched: Watched) -> None:
    """It answers, announces nothing, and the clocks agree within what can be known."""
    found = watched.look()

    assert (found.state, found.facts["mode"]) == ("up", "ONLINE"), found
    assert found.facts["decided_by"] == "our own probe"
    assert found.facts["skew_samples"] == 5
    assert abs(float(found.facts["skew_ms"])) <= float(found.facts["skew_error_ms"]) + 0.1
    assert found.facts["skew_used_pct"] == 0.0
    assert 0 < float(found.facts["rest_ms"]) == pytest.approx(found.took_ms, abs=0.1)
    assert found.reason.startswith("it answers; announced: ")


@each("binance")
def test_spent_weight_is_a_fact(watched: Watched) -> None:
    """How much of its limit this address has used is told, where the exchange tells."""
    facts = watched.look().facts

    assert (facts["weight_used"], facts["weight_limit"]) == (17, 6000)


@each()
def test_answers_that_are_errors(watched: Watched) -> None:
    """Status 200 with an error in the body is no answer, whatever is announced."""
    watched.says(REACH[watched.fake.name], NO_ANSWER[watched.fake.name])
    found = watched.look()

    assert (found.state, found.facts["mode"]) == ("down", "DOWN")
    assert found.facts["decided_by"] == "our own probe"
    assert "decided by our own probe, announced: " in found.reason


@pytest.mark.parametrize(
    ("watched", "said", "mode", "state"),
    [
        ("binance", 1, "MAINTENANCE", "maintenance"),
        ("kraken", "maintenance", "MAINTENANCE", "maintenance"),
        ("kraken", "cancel_only", "CANCEL_ONLY", "degraded"),
        ("kraken", "post_only", "POST_ONLY", "degraded"),
        ("okx", [okx_entry("ongoing")], "MAINTENANCE", "maintenance"),
        ("okx", [okx_entry("ongoing"), okx_entry("pre_open")], "MAINTENANCE", "maintenance"),
        ("okx", [okx_entry("pre_open")], "POST_ONLY", "degraded"),
        ("okx", [okx_entry("ongoing", "8")], "DEGRADED", "degraded"),
        ("bybit", [bybit_entry("completed"), bybit_entry("ongoing")],
         "MAINTENANCE", "maintenance"),
        ("coinbase", "critical", "DEGRADED", "degraded"),
    ],
    indirect=["watched"],
)  # fmt: skip
def test_what_is_announced_counts(watched: Watched, said: Any, mode: str, state: str) -> None:
    """An announced mode that is worse than what the probe sees decides, and is told."""
    name = watched.fake.name
    watched.says(STATUS[name], announcement(name, said))
    found = watched.look()

    assert (found.state, found.facts["mode"]) == (state, mode)
    assert found.facts["decided_by"] == "announced"
    assert found.reason == f"announced: {found.facts['announced']}; it answers our own probe"


@pytest.mark.parametrize(
    ("watched", "said"),
    [
        ("okx", [okx_entry("ongoing", "6")]),
        ("okx", [okx_entry("ongoing", env="2")]),
        ("okx", [okx_entry("scheduled"), okx_entry("canceled")]),
        ("bybit", [bybit_entry("ongoing", (4, 5))]),
        ("bybit", [bybit_entry("ongoing", env=2)]),
        ("coinbase", "minor"),
    ],
    indirect=["watched"],
)
def test_what_is_announced_of_others_does_not(watched: Watched, said: Any) -> None:
    """Block trading, demo accounts, what is planned or was called off leave trading as it is."""
    name = watched.fake.name
    watched.says(STATUS[name], announcement(name, said))

    assert watched.look().facts["mode"] == "ONLINE"


@each("kraken")
def test_a_new_word_does_not_decide(watched: Watched) -> None:
    """A word that no preset knows is told, and leaves what the probe found."""
    watched.says(STATUS["kraken"], announcement("kraken", "half_open"))
    found = watched.look()

    assert (found.state, found.facts["decided_by"]) == ("up", "our own probe")
    assert found.reason == "it answers; announced: half_open, which nobody here knows"


@each(*CLOSED)
def test_closed_and_silent_is_maintenance(watched: Watched) -> None:
    """What is announced as closed and hangs is closed; it leaves time for the other question."""
    name = watched.fake.name
    watched.says(STATUS[name], announcement(name, CLOSED[name]))
    watched.says(REACH[name], Reply(hangs=True))
    found = watched.look()

    assert (found.state, found.facts["decided_by"]) == ("maintenance", "announced")
    assert found.reason.endswith("; no answer within 0.2 s")
    assert watched.timeouts_s[0] == pytest.approx(PATIENCE_S / 2, abs=0.1)


@each()
def test_silent_though_announced_well_is_down(watched: Watched) -> None:
    """Our own probe decides when nothing answers."""
    watched.says(REACH[watched.fake.name], Reply(hangs=True))
    found = watched.look()

    assert (found.state, found.facts["decided_by"]) == ("down", "our own probe")
    assert "rest_ms" not in found.facts


UNREADABLE = [
    Reply(hangs=True),
    Reply(b"", 503),
    Reply(b"<html>We'll be right back</html>"),
    Reply(b"[" * 100_000),
    Reply(b'{"status": NaN}'),
    Reply(b"null"),
    Reply(b'"online"'),
    Reply(b'{"padding": "' + b"x" * (2 << 20) + b'"}'),
    Reply(b"", 302, {"Location": "/elsewhere"}),
]


@pytest.mark.parametrize("reply", UNREADABLE, ids=str)
@each("binance", "okx")
def test_a_status_page_that_fails_makes_nothing_worse(watched: Watched, reply: Reply) -> None:
    """It hangs, fails, redirects, is no JSON or endless: the exchange is what the probe found."""
    watched.says(STATUS[watched.fake.name], reply)
    found = watched.look()

    assert (found.state, found.facts["decided_by"]) == ("up", "our own probe"), found
    assert found.reason.startswith("it answers; what it announces cannot be read: ")
    assert "announced" not in found.facts


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b"<!doctype html><title>Maintenance</title>"), "HTML instead of JSON"),
        (Reply(b"[" * 100_000), "the answer is not JSON"),
        (Reply(b'{"x": "' + b"x" * (2 << 20) + b'"}'), "an answer of more than 1,048,576 bytes"),
        (Reply(b"", 502), "HTTP 502, expected 200"),
        (Reply(b"", 307, {"Location": "http://10.0.0.1/\x1b"}),
         "HTTP 307, a redirect to http://10.0.0.1/"),
        (Reply(b"", 451), "HTTP 451, it refuses this host's country, network or address"),
        (Reply(b"Forbidden", 403), "HTTP 403, it refuses this host's country, network or address"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)  # fmt: skip
@each("kraken", "bybit")
def test_answers_that_are_none(watched: Watched, reply: Reply, reason: str) -> None:
    """What comes back instead of an answer is told in words; redirects are not followed."""
    watched.says(REACH[watched.fake.name], reply)
    found = watched.look()

    assert (found.state, found.facts["mode"]) == ("down", "DOWN")
    assert found.reason.startswith(f"{reason}; decided by our own probe")


@pytest.mark.parametrize(
    ("watched", "behind_s", "state"),
    [
        ("binance", 9, "degraded"),  # this host is 9 s ahead, 1 s is refused
        ("bybit", 9, "degraded"),
        ("binance", -9, "degraded"),  # 9 s behind, 5 s are refused
        ("okx", 7, "up"),  # 30 s are refused
        ("okx", 60, "degraded"),
        ("coinbase", -60, "degraded"),
        ("kraken", 60, "up"),  # its requests carry no time
    ],
    indirect=["watched"],
)
def test_a_skewed_clock(watched: Watched, behind_s: int, state: str) -> None:
    """This host's clock matters as far as the exchange's own limit: its mode stays, told so."""
    watched.fake.ahead_ns = -behind_s * 1_000_000_000
    found = watched.look()

    assert (found.state, found.facts["mode"]) == (state, "ONLINE")
    error_ms = float(found.facts["skew_error_ms"])
    assert float(found.facts["skew_ms"]) == pytest.approx(behind_s * 1_000, abs=error_ms + 0.1)
    side = "ahead of" if behind_s > 0 else "behind"
    assert (f" ms {side} its own, " in found.reason) == (state == "degraded")


@each("binance")
def test_a_time_that_is_none(watched: Watched) -> None:
    """A clock that cannot be read says nothing about this host's."""
    watched.says(TIME["binance"], js({"serverTime": "soon"}))
    found = watched.look()

    assert found.state == "up"
    assert not [name for name in found.facts if name.startswith("skew")]


def test_a_private_address_is_not_looked_at() -> None:
    """What the guard keeps us from asking is unknown, not down."""
    preset = load(Keys({"exchange": "kraken"}, Source("test"), ()), "exchange")
    found = Exchange(preset.elsewhere("http://127.0.0.1:9")).look(Deadline(PATIENCE_S))

    assert (found.state, found.facts["mode"]) == ("unknown", "UNKNOWN")
    assert "not a public address" in found.reason
