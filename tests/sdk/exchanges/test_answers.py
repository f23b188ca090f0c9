"""What answers mean, and what they announce, for any answer: pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.exchanges import announced
from outrider.exchanges.answers import UNITS, AnswerError, Unit, at, check, parse, plain, time_us
from outrider.exchanges.modes import Announcement, Mode
from outrider.exchanges.preset import Announced, Endpoint
from tests.sdk.exchanges.fake import answer, bybit_entry, okx_entry

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
    with pytest.raises(AnswerError, match=r"`error` is `EService:Busy, 5`, expected `\[\]`"):
        check({"error": ["EService:Busy", 5]}, [("error", [])], [])
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
