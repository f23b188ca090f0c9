"""An exchange is looked at as a user has it: by its preset, over HTTP, against a local server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from outrider.addresses import networks
from outrider.configuration import Source
from outrider.exchanges import Exchange, load
from outrider.probes.deadline import Deadline
from outrider.probes.http import fetch
from outrider.probes.keys import Keys
from tests.sdk.exchanges.fake import (
    CLOSED,
    NAMES,
    NO_ANSWER,
    REACH,
    STATUS,
    TIME,
    FakeExchange,
    Reply,
    announcement,
    bybit_entry,
    js,
    okx_entry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider.probes.http import Response
    from outrider.probes.result import Result

PATIENCE_S = 20.0
"""For what answers at once, on a machine with other things to do."""


class Watched:
    """A fake exchange and the object that looks at it, whose clock the test moves."""

    def __init__(self, name: str) -> None:
        self.fake = FakeExchange(name)
        self.now_s = 1_000.0
        preset = load(Keys({"exchange": name}, Source("test"), ()), "exchange")
        here = preset.elsewhere(self.fake.url, f"{self.fake.url}{STATUS[name]}")
        self.timeouts_s: list[float] = []
        local = networks(["127.0.0.1"])
        self.exchange = Exchange(here, local, fetch=self._fetch, clock=lambda: self.now_s)

    def look(self) -> Result:
        return self.exchange.look(Deadline(PATIENCE_S))

    def says(self, path: str, reply: Reply) -> None:
        self.fake.replies[path] = reply

    def _fetch(self, url: str, **how: Any) -> Response:
        """Ask as usual; only what hangs is not given all of its time."""
        self.timeouts_s.append(how["timeout_s"])
        reply = self.fake.replies[urlsplit(url).path]
        if isinstance(reply, Reply) and reply.hangs:
            how["timeout_s"] = 0.2
        return fetch(url, **how)


@pytest.fixture
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A watched exchange, by the parameter's name."""
    one = Watched(request.param)
    yield one
    one.fake.close()


def each(*names: str) -> pytest.MarkDecorator:
    """Run a test for these exchanges."""
    return pytest.mark.parametrize("watched", names or NAMES, indirect=True)


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
    ("watched", "reply", "wait_s"),
    [
        ("binance", js({"code": -1003}, 429, Retry_After="7"), 7),
        ("binance", js({"code": -1003}, 418, Retry_After="600"), 600),
        ("binance", js({"code": -1003}, 418), 120),
        ("kraken", js({"error": ["EGeneral:Too many requests"]}), 60),
        ("okx", js({"code": "50011", "msg": "", "data": []}), 10),
        ("bybit", Reply(b"403, access too frequent", 403), 600),
        ("coinbase", Reply(b"", 429), 10),
    ],
    indirect=["watched"],
)
def test_it_is_left_alone_when_it_asks(watched: Watched, reply: Reply, wait_s: float) -> None:
    """Nothing is asked for as long as it says; the state stays, and says so; then all goes on."""
    name = watched.fake.name
    usual = watched.fake.replies[REACH[name]]
    before = watched.look()
    watched.says(REACH[name], reply)
    watched.now_s += 30
    found = watched.look()
    asked = watched.fake.asked.total()

    assert (found.state, found.facts) == ("up", before.facts)
    assert re.search(r"too many requests .*, not asked until [0-9:]{8} UTC; before: it answers",
                     found.reason)  # fmt: skip
    watched.now_s += wait_s - 0.5
    # The same words as long as it lasts: only what changes is news.
    assert watched.look() == found
    assert watched.fake.asked.total() == asked
    watched.fake.replies[REACH[name]] = usual
    watched.now_s += 1
    assert watched.look().reason.startswith("it answers")


@each("binance")
def test_a_long_ban_ends_in_unknown(watched: Watched) -> None:
    """What has not been looked at for a quarter of an hour is unknown, and so is what never was."""
    ban = js({"code": -1003}, 418, Retry_After="86400")
    watched.says(REACH["binance"], ban)
    assert watched.look().state == "unknown"
    watched.says(REACH["binance"], Reply())
    watched.now_s += 86_401
    assert watched.look().state == "up"
    watched.says(REACH["binance"], ban)
    watched.now_s += 30
    assert watched.look().state == "up"
    watched.now_s += 901

    found = watched.look()
    assert (found.state, found.facts["mode"]) == ("unknown", "UNKNOWN")
    assert found.reason.startswith("too many requests from this address (HTTP 418")


@each("okx")
def test_a_status_page_that_asks_to_wait_is_not_forgotten(watched: Watched) -> None:
    """What the probe found stands, and the next look asks nothing."""
    watched.says(STATUS["okx"], Reply(b"", 429, {"Retry-After": "5"}))
    assert watched.look().state == "up"
    asked = watched.fake.asked.total()
    watched.now_s += 1

    assert "not asked until" in watched.look().reason
    assert watched.fake.asked.total() == asked


@each("kraken", "binance")
def test_status_and_time_are_asked_at_their_interval(watched: Watched) -> None:
    """What need not be asked at every look is kept."""
    name = watched.fake.name
    first = watched.look()
    asked_before = watched.fake.asked.copy()
    watched.now_s += 30
    second = watched.look()

    assert watched.fake.asked - asked_before == {REACH[name]: 1}
    kept = {"announced", "skew_ms", "skew_samples"}
    assert {k: second.facts[k] for k in kept} == {k: first.facts[k] for k in kept}
    watched.now_s += 31
    watched.look()
    assert watched.fake.asked[STATUS[name]] == 2


@each("kraken")
def test_an_old_announcement_ends(watched: Watched) -> None:
    """What was announced counts for three intervals when it cannot be asked again, not longer."""
    watched.says(STATUS["kraken"], announcement("kraken", "cancel_only"))
    assert watched.look().state == "degraded"
    watched.says(STATUS["kraken"], Reply(b"", 500))
    watched.now_s += 61
    assert watched.look().state == "degraded"
    watched.now_s += 122

    assert watched.look().reason == (
        "it answers; what it announces cannot be read: HTTP 500, expected 200"
    )


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


def test_settings_read_again_are_the_same_exchange() -> None:
    """What is configured as before goes on as before, with what it remembers."""
    preset = load(Keys({"exchange": "kraken"}, Source("test"), ()), "exchange")

    assert Exchange(preset) == Exchange(preset.elsewhere())
    assert Exchange(preset) != Exchange(preset.elsewhere("https://mirror.example"))
    assert Exchange(preset) != Exchange(preset, networks(["10.0.0.0/8"]))


def test_a_private_address_is_not_looked_at() -> None:
    """What the guard keeps us from asking is unknown, not down."""
    preset = load(Keys({"exchange": "kraken"}, Source("test"), ()), "exchange")
    found = Exchange(preset.elsewhere("http://127.0.0.1:9")).look(Deadline(PATIENCE_S))

    assert (found.state, found.facts["mode"]) == ("unknown", "UNKNOWN")
    assert "not a public address" in found.reason
