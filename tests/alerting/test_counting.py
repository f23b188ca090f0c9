"""Hits: counted like by hand, dated, limited, and never missed by what makes it fast."""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.columns import Columns, pack_dictionary, pack_text
from outrider_alerting import counting
from outrider_alerting.counting import HitCounter
from outrider_alerting.key_values import MAX_KEY_VALUE
from outrider_alerting.kinds import RecordRule
from outrider_alerting.needs import needs_of, words_of
from outrider_alerting.watches import hits_key, urgent_filters
from tests.alerting.scene import T0, S, rules

if TYPE_CHECKING:
    import pytest

ERRORS = """
[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
window = "1m"
above = 10
"""


def batch(*records: dict[str, Any], service: str = "pay", worker: str = "w1") -> Columns:
    """A batch of one stream; a record has message, severity, at, observed, event, attributes."""
    n = len(records)

    def texts(name: str) -> list[str | None]:
        return [record.get(name) for record in records]

    def raw(values: list[str | None]) -> bytes:
        return pack_text([None if v is None else v.encode() for v in values])

    return Columns(
        n=n,
        stream=7,
        service=service,
        worker=worker,
        host="h1",
        source="app",
        ts_us=array("q", [int((T0 + r.get("at", 0)) * S) for r in records]),
        observed_us=array(
            "q", [int((T0 + r.get("observed", r.get("at", 0))) * S) for r in records]
        ),
        stream_offset=array("q", range(0, 100 * n, 100)),
        severity=bytes(r.get("severity", 17) for r in records),
        message_raw=raw(texts("message")),
        attributes_raw=raw(
            [
                json.dumps(r["attributes"], ensure_ascii=False) if "attributes" in r else None
                for r in records
            ]
        ),
        correlation_id_raw=raw(texts("correlation_id")),
        event=pack_dictionary(texts("event")),
        error_code=pack_dictionary(texts("error_code")),
    )


def counter(text: str = ERRORS) -> HitCounter:
    """A counter of one file of rules."""
    return HitCounter(rules(text))


def by(names: str, text: str = ERRORS) -> str:
    """The rules with a `by`."""
    return text.replace('"errors"', f'"errors"\nby = [{names}]')


def test_records_of_one_second_are_one_hit() -> None:
    """A hit has the second, the number of matching records and the names of the first ones."""
    columns = batch({"at": 0.1}, {"at": 0.9}, {"at": 0.5, "severity": 9}, {"at": 1.0}, {"at": 1.2})

    first, second = counter().count(columns)
    assert (first.bucket_us, first.n, first.names) == (T0 * S, 2, ((7, 0), (7, 100)))
    assert (second.bucket_us, second.n) == ((T0 + 1) * S, 2)
    assert first.hits_key == hits_key(rules(ERRORS).rules[0])


def test_key_values_come_from_every_kind_of_field() -> None:
    """`by` takes constants, dictionary columns, texts, severity and attributes; absent is empty."""
    names = '"service", "event", "correlation_id", "severity", "attrs.order.id", "attrs.n"'
    columns = batch(
        {
            "event": "job.failed",
            "correlation_id": "c1",
            "attributes": {"order": {"id": 4}, "n": 1.5},
        },
        {"severity": 21, "attributes": {"order.id": "flat"}},
    )

    assert [hit.key for hit in counter(by(names)).count(columns)] == [
        ("pay", "job.failed", "c1", "ERROR", "4", "1.5"),
        ("pay", "", "", "FATAL", "flat", ""),
    ]


def test_hostile_key_values_are_kept_in_a_safe_form() -> None:
    """NUL and endless values in a key cannot hurt the database."""
    columns = batch({"attributes": {"k": "a\x00b"}}, {"attributes": {"k": "x" * 10_000}})

    first, second = counter(by('"attrs.k"')).count(columns)
    assert first.key == ("a\ufffdb",)
    assert len(second.key[0]) == MAX_KEY_VALUE


def test_an_absurd_event_time_gives_way_to_the_observed_time() -> None:
    """More than a minute off the time it was read, a record counts when it was read, marked."""
    columns = batch(
        {"at": 0, "observed": 59}, {"at": -600, "observed": 0}, {"at": 600, "observed": 0}
    )

    inside, *outside = counter().count(columns, believable_from_us=T0 * S)
    assert (inside.bucket_us, inside.time_replaced) == (T0 * S, False)
    (absurd,) = outside
    assert (absurd.bucket_us, absurd.n, absurd.time_replaced) == (T0 * S, 2, True)


def test_a_stream_that_is_behind_brings_old_records_in_their_own_time() -> None:
    """What was written after the stream was last complete counts when it was written."""
    columns = batch({"at": -7000, "observed": 0}, {"at": -9000, "observed": 0})

    old, absurd = counter().count(columns, believable_from_us=(T0 - 7200) * S)
    assert (old.bucket_us, old.time_replaced) == ((T0 - 7000) * S, False)
    assert (absurd.bucket_us, absurd.time_replaced) == (T0 * S, True)


def test_old_records_are_believed_while_nothing_is_known_of_their_stream() -> None:
    """A session's first batch may be a backlog of days: only the future is absurd, and 1969."""
    long_ago = -T0 - 30 * 366 * 86_400
    columns = batch(*({"at": at, "observed": 0} for at in (-9 * 86_400, 60, 61, long_ago)))

    old, near, absurd = counter().count(columns)
    assert (old.bucket_us, old.time_replaced) == ((T0 - 9 * 86_400) * S, False)
    assert (near.bucket_us, near.time_replaced) == ((T0 + 60) * S, False)
    assert (absurd.bucket_us, absurd.n, absurd.time_replaced) == (T0 * S, 2, True)


def test_the_clock_offset_corrects_event_times() -> None:
    """A host ten minutes ahead is counted in true time."""
    columns = batch({"at": 600, "observed": 0})

    (hit,) = counter().count(columns, clock_offset_us=-600 * S)
    assert (hit.bucket_us, hit.time_replaced) == (T0 * S, False)


def test_keys_beyond_the_limit_are_one_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit all further keys are one overflow hit, and known keys still count."""
    monkeypatch.setattr(counting, "MAX_KEYS", 2)
    columns = batch(
        *[{"at": i, "attributes": {"k": str(i)}} for i in range(5)],
        {"at": 0, "attributes": {"k": "0"}},
    )

    found = counter(by('"attrs.k"')).count(columns)
    assert [(hit.key, hit.overflow, hit.n) for hit in found] == [
        (("0",), False, 2), (("1",), False, 1), ((), True, 3),
    ]  # fmt: skip


def test_rules_of_one_filter_are_counted_once() -> None:
    """Two rules with one filter and `by` give one hit, in any order of terms."""
    again = ERRORS.replace('"errors"', '"b"')
    swapped = ERRORS.replace('"errors"', '"c"').replace(
        "severity>=error", "service:pay severity>=error"
    )
    turned = swapped.replace('"c"', '"d"').replace(
        "service:pay severity>=error", "severity>=error service:pay"
    )

    assert len(counter(ERRORS + again + swapped + turned).count(batch({}))) == 2


def test_an_empty_batch_has_no_hits() -> None:
    """A batch that carries only a watermark costs nothing."""
    assert counter().count(batch()) == []


FILTERS = (
    "severity>=error", "service:pay", "service:etl severity>=warn", "timed", '"timed out"', "tim*",
    "-timed", "timed OR refused", "event:job.failed", "event:job.*", "error_code:E1 timed",
    "attrs.k:v", "attrs.k:v*", "attrs.n>3", "attrs.a.b:x-y", "severity:info (refused OR attrs.k:v)",
    "user@host", "caf\u00e9", "k\u212am", "event:(a.b OR job.failed) -attrs.k:v", "E1",
    "service:(pay OR etl) out", "NOT service:pay", "valueerror",
)  # fmt: skip
WORDS = ("timed", "out", "Timed out", "TIMED\tOUT", "refused", "xtimed", "timedx", "", "caf\u00e9",
         "\u00e9timed", "\u2192timed", "user@host", "\u212a", "k\u212am", "E1", "timed\\out",
         '"timed"', "x\nValueError: bad", "A" * 70 + " timed")  # fmt: skip
texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
records = st.fixed_dictionaries(
    {
        "message": st.none() | texts,
        "severity": st.sampled_from((1, 9, 13, 17, 21)),
        "event": st.sampled_from((None, "job.failed", "a.b", "E1")),
        "error_code": st.sampled_from((None, "E1", "TIMED")),
    },
    optional={
        "attributes": st.dictionaries(
            st.sampled_from(("k", "n", "a", "a.b", "timed")),
            texts | st.sampled_from(("v", "vw", 4, 3, True, {"b": "x-y"}, ["timed"])),
            max_size=3,
        )
    },
)


def _many_rules() -> str:
    return "\n".join(
        ERRORS.replace('"errors"', f'"r{i}"').replace("severity>=error", text.replace('"', '\\"'))
        for i, text in enumerate(FILTERS)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(records, min_size=1, max_size=6), st.sampled_from(("pay", "etl", "x")))
def test_nothing_is_missed_for_speed(found: list[dict[str, Any]], service: str) -> None:
    """Each filter counts exactly the records that it matches when it is asked alone."""
    rule_set = rules(_many_rules())
    hits = HitCounter(rule_set).count(batch(*found, service=service))

    counted = Counter[bytes]()
    for hit in hits:
        counted[hit.hits_key] += hit.n
    for rule in rule_set.rules:
        assert isinstance(rule, RecordRule)
        key = hits_key(rule)
        assert key is not None
        alone = rule.filter.match(batch(*found, service=service))
        assert counted[key] == len(alone), rule.filter.text


@settings(max_examples=150, deadline=None)
@given(st.lists(records, min_size=1, max_size=4), st.sampled_from(FILTERS))
def test_needs_are_necessary(found: list[dict[str, Any]], text: str) -> None:
    """A batch that has a matching record has every word that the filter needs."""
    (rule,) = rules(ERRORS.replace("severity>=error", text.replace('"', '\\"'))).rules
    assert isinstance(rule, RecordRule)
    columns = batch(*found)
    needs = needs_of(rule.filter.node)

    if rule.filter.match(columns):
        assert needs.words <= words_of(columns)
        assert needs.severity <= max(columns.severity)


def test_critical_rules_are_urgent_unless_they_say_no() -> None:
    """Agents are told the filters of critical rules and of those marked urgent, each once."""
    text = (
        ERRORS
        + ERRORS.replace('"errors"', '"b"\npriority = "critical"').replace('error"', 'fatal"')
        + ERRORS.replace('"errors"', '"c"\nurgent = true').replace("severity>=error", "needle")
        + ERRORS.replace('"errors"', '"d"\nurgent = true').replace("severity>=error", "Needle")
        + ERRORS.replace('"errors"', '"e"\npriority = "critical"\nurgent = false')
    )

    assert urgent_filters(rules(text)) == ["severity>=fatal", "needle"]


def test_a_hostile_line_and_a_hostile_pattern_cost_little() -> None:
    """What costs a backtracking engine for ever, on a line of a megabyte, is done in no time."""
    counter = HitCounter(rules(ERRORS.replace("severity>=error", "/^(a+)+$/")))
    columns = batch({"message": "a" * 1_000_000 + "!", "at": 0}, {"message": "aaa", "at": 0})
    before = time.thread_time()
    hits = counter.count(columns)

    assert [hit.n for hit in hits] == [1]
    assert time.thread_time() - before < 2.0
