"""Whose word decides, how far a clock is off, how long to wait: pure."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.exchanges import skew
from outrider.exchanges.modes import STATES, Announcement, Mode, Own, combine
from outrider.exchanges.preset import Throttled
from outrider.exchanges.skew import Sample, Skew
from outrider.exchanges.throttling import MAX_WAIT_S, is_asked_to_wait, wait_s
from tests.sdk.exchanges.fake import answer

NOW = 800_000_000_000_000


# ------------------------------------------------------------------ whose word decides

OWN = [Own(Mode.ONLINE), Own(Mode.DEGRADED, "1 of 2"), Own(Mode.DOWN, "refused"),
       Own(Mode.UNKNOWN, "guard")]  # fmt: skip
SAID = [None, *(Announcement(mode, "said") for mode in Mode)]


@pytest.mark.parametrize("said", SAID, ids=str)
@pytest.mark.parametrize("own", OWN, ids=str)
def test_the_verdict_is_that_of_who_decided(own: Own, said: Announcement | None) -> None:
    """The mode is the probe's or the announced one, as told; and every mode has its state."""
    found = combine(own, said)

    by = own.mode if found.decided_by == "our own probe" else said and said.mode
    assert found.mode is by
    assert found.mode in STATES
    assert found.reason
    if own.reason:
        assert own.reason in found.reason or found.decided_by == "announced"


@pytest.mark.parametrize(
    ("own", "said", "mode", "by"),
    [
        (OWN[0], None, Mode.ONLINE, "our own probe"),
        (OWN[0], Mode.ONLINE, Mode.ONLINE, "our own probe"),
        (OWN[0], Mode.UNKNOWN, Mode.ONLINE, "our own probe"),
        (OWN[0], Mode.CANCEL_ONLY, Mode.CANCEL_ONLY, "announced"),
        (OWN[0], Mode.MAINTENANCE, Mode.MAINTENANCE, "announced"),
        (OWN[0], Mode.DOWN, Mode.DOWN, "announced"),
        (OWN[1], Mode.ONLINE, Mode.DEGRADED, "our own probe"),
        (OWN[1], Mode.POST_ONLY, Mode.POST_ONLY, "announced"),
        (OWN[2], None, Mode.DOWN, "our own probe"),
        (OWN[2], Mode.ONLINE, Mode.DOWN, "our own probe"),
        (OWN[2], Mode.CANCEL_ONLY, Mode.DOWN, "our own probe"),
        (OWN[2], Mode.MAINTENANCE, Mode.MAINTENANCE, "announced"),
        (OWN[3], None, Mode.UNKNOWN, "our own probe"),
        (OWN[3], Mode.ONLINE, Mode.ONLINE, "announced"),
    ],
    ids=str,
)
def test_who_decides(own: Own, said: Mode | None, mode: Mode, by: str) -> None:
    """The table of the module's page."""
    found = combine(own, None if said is None else Announcement(said, "said"), "HTTP 500")

    assert (found.mode, found.decided_by) == (mode, by)


# ------------------------------------------------------------------ this host's clock

MS = 1_000


@given(
    ahead_us=st.integers(-(10**9), 10**9),
    trips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=5),
    resolution_us=st.sampled_from([1, MS, 1_000_000]),
)
def test_the_true_distance_is_within_what_is_told(
    ahead_us: int, trips: list[tuple[int, int]], resolution_us: int
) -> None:
    """For any clock, way there, way back and rounding; and no sample is better than the best."""
    samples = []
    for n, (there_us, back_us) in enumerate(trips):
        sent_us = NOW + n * 10_000_000
        server_us = sent_us - ahead_us + there_us
        rounded_us = server_us - server_us % resolution_us
        samples.append(Sample(sent_us, sent_us + there_us + back_us, rounded_us))
    found = skew.measure(samples, resolution_us / MS)

    assert found is not None
    assert abs(found.ahead_ms - ahead_us / MS) <= found.error_ms + 0.001
    assert found.error_ms == pytest.approx(min(map(sum, trips)) / 2_000 + resolution_us / MS)
    assert found.sure_ms <= abs(ahead_us) / MS + 0.001
    assert found.sure_ms == 0 or found.ahead_ms * ahead_us > 0


def test_a_clock_that_jumped_between_is_no_sample() -> None:
    """An answer from before its question says nothing."""
    assert skew.measure([Sample(NOW, NOW - 1, NOW)]) is None
    assert skew.measure([]) is None
    found = skew.measure([Sample(NOW, NOW - 1, NOW), Sample(NOW, NOW + 2 * MS, NOW)])
    assert found == Skew(ahead_ms=1.0, error_ms=1.0, sure_ms=0.0, samples=1)


def test_a_clock_that_may_be_right_is_not_called_wrong() -> None:
    """Whole seconds say nothing about half of one, and much about a minute."""
    at = [Sample(NOW + 900 * MS, NOW + 900 * MS, NOW)]
    found = skew.measure(at, resolution_ms=1_000)
    assert found == Skew(ahead_ms=0.0, error_ms=1_000.0, sure_ms=0.0, samples=1)
    late = [Sample(NOW + 60_000 * MS, NOW + 60_200 * MS, NOW)]
    found = skew.measure(late, resolution_ms=1_000)
    assert found == Skew(ahead_ms=59_100.0, error_ms=1_100.0, sure_ms=59_000.0, samples=1)


@pytest.mark.parametrize(
    ("ahead_ms", "trip_ms", "judged"),
    [
        (249, 0, "fine"),
        (250, 0, "warn"),
        (299, 100, "fine"),
        (699, 0, "warn"),
        (700, 0, "fail"),
        (749, 100, "warn"),
        (750, 100, "fail"),
        (60_000, 0, "fail"),
        (-1_249, 0, "fine"),
        (-1_250, 0, "warn"),
        (-3_500, 0, "fail"),
    ],
)
def test_a_second_ahead_and_five_behind(ahead_ms: int, trip_ms: int, judged: str) -> None:
    """250 ms are a warning and 700 ms a failure, when they are certain; behind has more room."""
    half = trip_ms * MS // 2
    found = skew.measure([Sample(NOW - half, NOW + half, NOW - ahead_ms * MS)])

    assert found is not None
    assert skew.judge(found.used_pct(1_000, 5_000)) == judged


def test_where_times_do_not_matter_no_clock_is_wrong() -> None:
    """An exchange that compares no times allows any."""
    assert Skew(1e9, 0, 1e9, 5).used_pct(None, None) == 0


# ------------------------------------------------------------------ being asked to wait


@settings(max_examples=300)
@given(st.text(max_size=40) | st.integers().map(str), st.text(max_size=40))
def test_any_retry_after_is_a_bounded_wait(asked: str, date: str) -> None:
    """However it is written, there is a wait, and an end of it."""
    assert 0 < wait_s({"retry-after": asked, "date": date}, 60) <= MAX_WAIT_S


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 60),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 60),
        ({"retry-after": "-5"}, 60),
        ({"retry-after": "999999999"}, MAX_WAIT_S),
        ({"retry-after": formatdate(1e9 + 90, usegmt=True), "date": formatdate(1e9)}, 90),
        ({"retry-after": formatdate(1e9, usegmt=True), "date": formatdate(1e9 + 90)}, 60),
        ({"retry-after": formatdate(1e9, usegmt=True)}, 60),
    ],
)
def test_what_retry_after_asks(headers: dict[str, str], wait: float) -> None:
    """Seconds, or a date by the answer's own clock; else the preset's time."""
    assert wait_s(headers, 60) == wait


def test_how_it_says_too_many_requests() -> None:
    """By its status, or by its words, whatever their case."""
    throttled = Throttled(status=frozenset((429,)), texts=("Access too frequent",))

    assert is_asked_to_wait(answer(b"", status=429), throttled)
    assert is_asked_to_wait(answer(b"403, ACCESS TOO FREQUENT", status=403), throttled)
    assert not is_asked_to_wait(answer(b"blocked in your country", status=403), throttled)
