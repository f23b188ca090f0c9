"""The words of a notice."""

from __future__ import annotations

import msgspec
import pytest

from outrider_alerting import telling
from outrider_alerting.content import Content, EvidenceLine, Told
from outrider_alerting.durations import Duration, clock_time, compact, said
from outrider_alerting.ledger import Alert
from outrider_alerting.summaries import SummaryError, names, render

S = 1_000_000
NOW = 837_180_202 * S  # 2026-07-12 14:03:22 UTC

DEATH = Alert(
    id=12,
    rule="worker-died",
    key=("arb", "worker-7", "web-3"),
    labels={
        "service": "arb", "worker": "worker-7", "host": "web-3", "team": "trading",
        "rule": "worker-died", "kind": "liveness", "priority": "critical", "state": "dead",
    },
    kind="liveness",
    priority="critical",
    state="firing",
    summary="worker-7 is dead: killed by SIGKILL",
    runbook="https://wiki.example/dead",
    started_us=NOW - 3 * S,
    fired_us=NOW - 3 * S,
)  # fmt: skip
COUNT = Alert(
    id=7,
    rule="errors",
    key=("pay",),
    labels={"service": "pay", "rule": "errors", "kind": "count", "priority": "warning"},
    kind="count",
    priority="warning",
    state="firing",
    summary="1,234 errors in 5m",
    value=1234.0,
    threshold=10.0,
    started_us=NOW - 125 * S,
    fired_us=NOW - 120 * S,
    evidence=tuple(
        EvidenceLine(at_us=NOW, severity="ERROR", message="x" * 4096, stream=1, stream_offset=i)
        for i in range(12)
    ),
)


def test_a_death_says_who_what_since_when() -> None:
    """Title, sentence, facts, runbook and the command to acknowledge."""
    said_now = telling.firing(DEATH, NOW)

    assert said_now.title == "worker-7 is dead: killed by SIGKILL"
    assert said_now.sentence == "Dead since 14:03:19 UTC."
    assert [(f.name, f.value) for f in said_now.facts] == [
        ("Service", "arb"), ("Worker", "worker-7"), ("Host", "web-3"), ("Team", "trading"),
    ]  # fmt: skip
    assert said_now.runbook == "https://wiki.example/dead"
    assert said_now.command == "outrider alerts ack A-12"
    assert said_now.alert == "A-12"


def test_counts_are_exact_and_evidence_is_bounded() -> None:
    """A count alert gives count, threshold and since; ten lines of 300 characters at most."""
    said_now = telling.firing(COUNT, NOW)

    assert said_now.sentence == "1,234 records, above 10, since 14:01:17 UTC, 2 min 5 s ago."
    assert len(said_now.evidence) == 10
    assert all(len(line.message) == 300 for line in said_now.evidence)
    assert said_now.evidence_omitted == 1224


def numbered(number: int) -> Alert:
    """Return one of several alerts."""
    return msgspec.structs.replace(COUNT, id=number)


def test_one_message_of_several_says_how_each_is() -> None:
    """What still holds comes first and in full; who looks after what; what to type for the rest."""
    told = [
        Told(
            content=telling.firing(numbered(n), NOW),
            over=n == 1,
            acknowledged=("", "anna", "")[n - 1],
        )
        for n in (1, 2, 3)
    ]
    said = telling.together(told)

    assert said.alert == "A-2"
    assert "Acknowledged by anna." in said.sentence
    assert [(fact.name, fact.value[:5]) for fact in said.facts[-2:]] == [
        ("A-3", "1,234"), ("A-1", "Over:"),
    ]  # fmt: skip
    assert said.command == "outrider alerts ack A-3"
    assert telling.together(told, 400).command == "outrider alerts list"
    assert [telling.together([each]).command for each in told] == [
        "outrider alerts show A-1", "outrider alerts show A-2", "outrider alerts ack A-3",
    ]  # fmt: skip
    assert telling.together(told, 400, still_open=0).status == "resolved"


def test_the_end_says_how_long_and_why() -> None:
    """A resolve has its own title, the duration and the reason, under the same subject."""
    over = msgspec.structs.replace(
        DEATH, state="resolved", resolved_us=NOW + 60 * S, resolve_reason="up now"
    )
    said_now = telling.resolved(over, NOW + 61 * S)

    assert said_now.title == "worker-7 is up again"
    assert said_now.sentence == "Resolved at 14:04:22 UTC after 1 min 3 s: up now."
    assert said_now.subject == telling.firing(DEATH, NOW).subject
    assert said_now.command == "outrider alerts show A-12"


def test_a_loss_that_grows_keeps_its_subject() -> None:
    """The title says how much by now; threads hang on the subject, and there is no threshold."""
    labels = {"service": "arb", "worker": "w1", "host": "h1", "rule": "lost", "kind": "gap"}
    lost = msgspec.structs.replace(COUNT, rule="lost", kind="gap", labels=labels, value=37.0,
                                   summary="lost: 37 records lost", evidence=())  # fmt: skip
    more = msgspec.structs.replace(lost, summary="lost: 99 records lost", value=99.0)
    first, later = telling.firing(lost, NOW), telling.escalated(more, NOW)

    assert (first.title, later.title) == (lost.summary, more.summary)
    assert first.subject == later.subject == "lost: lost records of arb, w1, h1 [A-7]"
    assert first.sentence == "Since 14:01:17 UTC, 2 min 5 s ago."


def test_both_in_one_message() -> None:
    """Fired and resolved in one: both times, in one sentence."""
    over = msgspec.structs.replace(
        COUNT, state="resolved", resolved_us=NOW, resolve_reason="no records in 5m"
    )
    said_now = telling.fired_and_resolved(over, NOW)

    assert said_now.title == "Over: 1,234 errors in 5m"
    assert said_now.sentence == (
        "Fired at 14:01:22 UTC, resolved at 14:03:22 UTC after 2 min: no records in 5m."
    )


def test_withdrawn_is_not_called_over() -> None:
    """An alert of a deleted rule is closed, not over."""
    over = msgspec.structs.replace(
        COUNT, state="resolved", resolved_us=NOW, resolve_reason="withdrawn: the rule was deleted"
    )

    assert telling.resolved(over, NOW).title == "Closed: 1,234 errors in 5m"


def test_a_subject_is_one_line() -> None:
    """A service name with line breaks cannot add a header to a mail."""
    hostile = msgspec.structs.replace(COUNT, summary="a\r\nBcc: x@y\n" + "z" * 500)
    subject = telling.firing(hostile, NOW).subject

    assert "\n" not in subject
    assert "\r" not in subject
    assert subject.endswith("[A-7]")
    assert len(subject) < 170


def test_content_survives_json() -> None:
    """What the ledger stores reads back equal."""
    said_now = telling.firing(COUNT, NOW)
    stored = msgspec.json.encode(said_now)

    assert msgspec.json.decode(stored, type=Content) == said_now


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (0, "0 s"), (412_000, "412 ms"), (33 * S, "33 s"), (1337 * S, "22 min 17 s"),
        (60 * S, "1 min"), (11_100 * S, "3 h 05 min"), (3600 * S, "1 h"), (86_400 * S, "1 day"),
        (200_000 * S, "2 days"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_lengths_of_time_as_people_say_them(us: int, words: str) -> None:
    """Ages and durations have one form everywhere."""
    assert said(us) == words


def test_clock_times_name_the_day_where_it_is_another() -> None:
    """Today by the clock, another day with day and month, another year with the year."""
    assert clock_time(NOW, NOW) == "14:03:22 UTC"
    assert clock_time(NOW - 86_400 * S, NOW) == "11 Jul 14:03:22 UTC"
    assert clock_time(NOW - 400 * 86_400 * S, NOW) == "7 Jun 2025 14:03:22 UTC"


@pytest.mark.parametrize("text", ["30s", "5m", "1h30m", "250ms", "7d", "0s"])
def test_durations_read_and_write(text: str) -> None:
    """A duration reads back as it was written."""
    assert compact(Duration(text).us) == text


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5m1h", "1m1m", "-5s", "1.5s", "5minutes"])
def test_what_is_no_duration(text: str) -> None:
    """Anything but whole numbers with units, largest first, is refused."""
    with pytest.raises(ValueError, match="is not a duration"):
        Duration(text)


def test_summaries_fill_in_names_and_nothing_else() -> None:
    """Values go in as text, cut where endless; braces are doubled; nothing is evaluated."""
    values = {"worker": "{count}", "count": "9" * 200}

    assert render("{{{worker}}} {missing}", values) == "{{count}} ?"
    assert len(render("{count}", values)) == 120
    assert names("{a} {{b}} {c.d}") == ["a", "c.d"]
    with pytest.raises(SummaryError):
        names("{0.__class__}")


def test_a_test_is_of_now() -> None:
    """Whoever reads `since` in a test message finds when somebody tried the channel."""
    assert telling.trial("ops", "anna", "c1", NOW).at_us == NOW
