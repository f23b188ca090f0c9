"""What answers mean, for any answer; whose word decides; how far a clock is off: pure."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.exchanges import announced, skew
from outrider.exchanges.answers import UNITS, AnswerError, Unit, at, check, parse, plain, time_us
from outrider.exchanges.modes import STATES, Announcement, Mode, Own, combine
from outrider.exchanges.preset import Announced, Endpoint, Throttled
from outrider.exchanges.skew import Sample, Skew
from outrider.exchanges.throttling import MAX_WAIT_S, is_asked_to_wait, wait_s
from outrider.probes.http import Response
from tests.sdk.exchanges.fake import bybit_entry, okx_entry

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 800_000_000_000_000
HOUR = 3_600_000_000
UNIX_2000_MS = 946_684_800_000

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "state", "env", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from(["data", "state", "0", "1", "9999999999", "x", ""]), max_size=4)

LIST = Announced(
    endpoint=Endpoint(url="/s"),
    at="state",
    words={"ok": Mode.ONLINE, "shut": Mode.MAINTENANCE, "half": Mode.POST_ONLY},
    every_s=60,
    list="data",
    only={"env": ("1",)},
    partly={"part": ("yes",)},
    title="title",
    begin="begin",
    end="end",
)


def answer(body: bytes, *, status: int = 200, **headers: str) -> Response:
    """An answer with a body."""
    return Response(
        status=status, headers=headers, body=body, is_cut=False, took_ms=1.0,
        tls_expires_us=None, sent_us=0, received_us=0,
    )  # fmt: skip


def refused(fn: Callable[..., object], *arguments: object) -> bool:
    """Whether the answer is refused, in words that can be shown; no other exception comes."""
    try:
        fn(*arguments)
    except AnswerError as error:
        if not str(error).isprintable():
            raise AssertionError(repr(str(error))) from error
        return True
    return False


def ms(us: int) -> int:
    """An instant as the milliseconds since 1970 that exchanges write."""
    return us // 1_000 + UNIX_2000_MS


def entry(state: Any = "shut", env: Any = 1, **more: Any) -> dict[str, Any]:
    """An entry of a list of announcements."""
    return {"state": state, "env": env, **more}


# ------------------------------------------------------------------ answers


@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_value_or_an_error(body: bytes) -> None:
    """Whatever comes is read or refused in words that can be shown."""
    refused(parse, answer(body))


@pytest.mark.parametrize(
    "body", [b"", b"[" * 200_000, b"NaN", b'{"a": Infinity}', b"1" * 5_000, b"\xff\xfe\x00", b"<"]
)
def test_bodies_that_are_none(body: bytes) -> None:
    """Nesting without end, numbers of thousands of digits, what JSON does not know: refused."""
    with pytest.raises(AnswerError):
        parse(answer(body))


@given(ANY_JSON, PATHS)
def test_any_path_leads_somewhere_or_nowhere(value: Any, steps: list[str]) -> None:
    """A path never fails; a condition on it holds or is told."""
    path = ".".join(steps)
    at(value, path)
    refused(check, value, [(path, {})], [path])


def test_paths() -> None:
    """Names and numbers, from the outside inwards."""
    value = {"data": [{"ts": "5"}], "0": "zero"}

    assert at(value, "data.0.ts") == "5"
    assert at(value, "0") == "zero"
    assert at(value, "") is value
    with pytest.raises(AnswerError, match=r"`data\.1\.ts` is missing"):
        check(value, [], ["data.1.ts"])
    with pytest.raises(AnswerError, match="`ok` is `true`, expected `1`"):
        check({"ok": True}, [("ok", 1)], [])


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1_767_614_400, "s"),
        ("1767614400", "s"),
        (1_767_614_400.0, "s"),
        ("1767614400.000", "s"),
        (1_767_614_400_000, "ms"),
        ("1767614400000000", "us"),
        ("1767614400000000000", "ns"),
        ("2026-01-05T12:00:00Z", "iso"),
        ("2026-01-05T13:00:00.000+01:00", "iso"),
    ],
)
def test_times_in_every_form(value: Any, unit: Unit) -> None:
    """The same instant, however an exchange writes it."""
    assert time_us(value, unit) == 820_929_600_000_000


@given(ANY_JSON, st.sampled_from(UNITS))
def test_any_time_is_of_our_days_or_none(value: Any, unit: Unit) -> None:
    """Infinite, negative, empty, a time without a zone: no time, and no other error."""
    if not refused(time_us, value, unit):
        assert 0 <= time_us(value, unit) < 100 * 366 * 24 * HOUR


@given(st.text(), st.integers(10, 200))
def test_a_strangers_text_is_made_fit_for_a_line(text: str, limit: int) -> None:
    """It is printable, on one line, and no longer than it may be."""
    told = plain(text, limit)

    assert told.isprintable()
    assert len(told.encode()) <= limit
    if text.isascii() and text.isalnum() and len(text) <= limit:
        assert told == text


# ------------------------------------------------------------------ what is announced


@given(ANY_JSON)
def test_any_answer_announces_something_readable_or_nothing(value: Any) -> None:
    """Wrong types anywhere are an error in words, never another exception."""
    for spec in (LIST, Announced(endpoint=LIST.endpoint, at="state", words={}, every_s=60)):
        if not refused(announced.read, value, spec, NOW):
            text = announced.read(value, spec, NOW).text
            assert text.isprintable()
            assert len(text.encode()) <= 200


@given(st.lists(st.sampled_from(["ok", "half", "shut", "new"]), max_size=6))
def test_of_several_the_worst_counts(states: list[str]) -> None:
    """In any order; a word nobody knows is better than any that says something worse."""
    found = announced.read({"data": [entry(state) for state in states]}, LIST, NOW)
    wanted = next(
        (mode for word, mode in [("shut", "MAINTENANCE"), ("half", "POST_ONLY"), ("new", "UNKNOWN")]
         if word in states),
        "ONLINE",
    )  # fmt: skip

    assert found.mode == wanted


def test_entries_that_do_not_count() -> None:
    """Other environments are left out; a part that is shut is no more than degraded."""
    assert announced.read({"data": [entry(env=2), entry(env=[2, "3"])]}, LIST, NOW).mode == "ONLINE"
    assert announced.read({"data": [entry(env=[2, 1])]}, LIST, NOW).mode == "MAINTENANCE"
    assert announced.read({"data": [entry(part="yes")]}, LIST, NOW).mode == "DEGRADED"
    assert announced.read({"data": [entry("ok", part="yes")]}, LIST, NOW).mode == "ONLINE"


def test_when_it_ends_and_what_is_next() -> None:
    """The end of what is announced is told, and what is planned next while all is well."""
    shut = entry(title="Upgrade\x1b[2J", begin=ms(NOW - HOUR), end=str(ms(NOW + HOUR)))
    longer = entry(end=ms(NOW + 2 * HOUR))
    later = [entry("ok", title=f"Work {n}", begin=ms(NOW + n * 24 * HOUR),
                   end=ms(NOW + n * 24 * HOUR + HOUR // 2)) for n in (9, 3, 5)]  # fmt: skip

    found = announced.read({"data": [shut]}, LIST, NOW)
    assert found.text == "Upgrade [2J (shut), 05:13 to 07:13 UTC"
    assert found.until_us == NOW + HOUR
    assert announced.read({"data": [shut, longer]}, LIST, NOW).until_us == NOW + 2 * HOUR
    found = announced.read({"data": later}, LIST, NOW)
    assert found == Announcement(Mode.ONLINE, "Work 3 (ok), 11 May 06:13 to 06:43 UTC")


def test_a_list_without_end_is_refused() -> None:
    """The worst could be among what would not be looked at."""
    with pytest.raises(AnswerError, match="more than 1,000 entries"):
        announced.read({"data": [entry("ok")] * 1_001}, LIST, NOW)


def test_the_fake_answers_are_like_the_documented_ones() -> None:
    """The entries that other tests build have the fields that the presets read."""
    assert {"state", "serviceType", "env", "title", "begin", "end"} <= okx_entry("x").keys()
    assert {"state", "serviceTypes", "env", "title", "begin", "end"} <= bybit_entry("x").keys()


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
