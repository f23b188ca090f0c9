"""What stays between looks: that it asked to be left alone, what need not be asked again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from outrider.addresses import networks
from outrider.configuration import Source
from outrider.exchanges import Exchange, load
from outrider.probes.keys import Keys
from tests.sdk.exchanges.fake import (
    REACH,
    STATUS,
    Reply,
    announcement,
    js,
    okx_entry,
)
from tests.sdk.exchanges.watching import each

if TYPE_CHECKING:
    from tests.sdk.exchanges.watching import Watched


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


@each("okx")
def test_a_silent_exchange_is_asked_sooner_whether_it_is_closed(watched: Watched) -> None:
    """That it is closed is known at the next look, not at the next minute."""
    assert watched.look().state == "up"
    watched.says(REACH["okx"], Reply(b"", 503))
    watched.says(STATUS["okx"], announcement("okx", [okx_entry("ongoing")]))
    watched.now_s += 5
    assert watched.look().state == "down"
    watched.now_s += 5
    assert watched.look().state == "maintenance"


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


def test_settings_read_again_are_the_same_exchange() -> None:
    """What is configured as before goes on as before, with what it remembers."""
    preset = load(Keys({"exchange": "kraken"}, Source("test"), ()), "exchange")

    assert Exchange(preset) == Exchange(preset.elsewhere())
    assert Exchange(preset) != Exchange(preset.elsewhere("https://mirror.example"))
    assert Exchange(preset) != Exchange(preset, networks(["10.0.0.0/8"]))
