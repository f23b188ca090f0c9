"""What is said of alerts: that one fires, still fires, is over; several of them in one message.

The subject stays the same through an alert's life, so that threads hang together; the title says
what is so now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting.content import OPEN, Content, Fact
from outrider_alerting.durations import MINUTE_US, clock_time, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_alerting.content import Status, Told
    from outrider_alerting.ledger import Alert

MAX_EVIDENCE: Final = 10
MAX_EVIDENCE_OF_MANY: Final = 3
"""Lines of the first alert where one message tells of several."""
MAX_LINE: Final = 300
MAX_FACTS: Final = 12
MAX_SUBJECT: Final = 150
MAX_DIGEST: Final = 10

ACKNOWLEDGED_TOGETHER_MAX: Final = 5
"""Alerts of one message that its command names."""

_LIST_ALL: Final = "outrider alerts list --all"
_TOLD_ELSEWHERE: Final = ("rule", "kind", "priority", "state")


def firing(alert: Alert, now_us: int, explains: Sequence[Alert] = ()) -> Content:
    """Say that an alert fires, and which others it explains."""
    content = _content(alert, "firing", alert.summary, _since(alert, now_us), _ack(alert))
    if not explains:
        return content
    shown = ", ".join(other.summary for other in explains[:MAX_DIGEST])
    more = len(explains) - MAX_DIGEST
    fact = Fact(name="Explains", value=_cut(f"{shown} and {more:,} more" if more > 0 else shown))
    return msgspec.structs.replace(content, facts=(*content.facts[: MAX_FACTS - 1], fact))


def again(content: Content) -> Content:
    """Say that an alert fires once more that came and went several times within the hour."""
    sentence = f"Again: it comes and goes. {content.sentence}"
    return msgspec.structs.replace(content, sentence=sentence.strip())


def raised(alert: Alert, now_us: int) -> Content:
    """Say that an alert that was told is of a higher priority now."""
    sentence = f"Now {alert.priority}. {_since(alert, now_us)}"
    return _content(alert, "firing", alert.summary, sentence, _ack(alert))


def escalated(alert: Alert, now_us: int) -> Content:
    """Say that an alert fires and nobody looks after it."""
    sentence = f"{_since(alert, now_us)} Nobody has acknowledged it."
    return _content(alert, "still firing", alert.summary, sentence, _ack(alert))


def instead(content: Content, channel: str) -> Content:
    """Say what another channel could not be told."""
    sentence = f"{content.sentence} Told here because it did not reach {channel}."
    return msgspec.structs.replace(content, sentence=sentence.strip())


def still_firing(alert: Alert, now_us: int, suppressor: str) -> Content:
    """Say that an alert fires that was held back until now."""
    sentence = f"{_since(alert, now_us)} Held back by {suppressor} until now."
    return _content(alert, "still firing", alert.summary, sentence, _ack(alert))


def resolved(alert: Alert, now_us: int) -> Content:
    """Say that an alert whose firing was told is over."""
    sentence = f"{_over(alert, now_us)}{_reason(alert)}."
    command = f"outrider alerts show {name(alert.id)}"
    content = _content(alert, "resolved", _over_title(alert), sentence, command)
    # What it was and what to do about it stand in the firing that this answers.
    return msgspec.structs.replace(content, evidence=(), runbook=None)


def fired_and_resolved(alert: Alert, now_us: int) -> Content:
    """Say in one message that an alert fired and is over."""
    fired = clock_time(_fired(alert), now_us)
    over = _over(alert, now_us)
    sentence = f"Fired at {fired}, {over[0].lower()}{over[1:]}{_reason(alert)}."
    command = f"outrider alerts show {name(alert.id)}"
    return _content(alert, "fired and resolved", _over_title(alert), sentence, command)


def digest(alerts: Sequence[Alert], now_us: int) -> Content:
    """Say in one message what began and ended before its records arrived."""
    title = f"{len(alerts):,} alerts came and went before their records arrived"
    return _digest(alerts, now_us, title, "their records came late")


def after_silence(alerts: Sequence[Alert], by: str, now_us: int) -> Content:
    """Say in one message what began and ended while ``by`` held it back."""
    if len(alerts) == 1:
        content = fired_and_resolved(alerts[0], now_us)
        sentence = f"{content.sentence} Held back by {by} until now."
        return msgspec.structs.replace(content, sentence=sentence)
    title = f"{len(alerts):,} alerts came and went under {by}"
    return _digest(alerts, now_us, title, "they were held back until now")


def _digest(alerts: Sequence[Alert], now_us: int, title: str, why: str) -> Content:
    first = alerts[0]
    facts = tuple(
        Fact(
            name=name(alert.id),
            value=_cut(
                f"{clock_time(_fired(alert), now_us)}, for {said(_lasted(alert))}: {alert.summary}"
            ),
        )
        for alert in alerts[:MAX_DIGEST]
    )
    left = len(alerts) - len(facts)
    more = f" {left:,} more are in the list of alerts." if left else ""
    return Content(
        alert=name(first.id),
        status="fired and resolved",
        priority=first.priority,
        subject=_one_line(f"{title} [{name(first.id)}]"),
        title=title,
        sentence=f"None of them holds any more; {why}.{more}",
        facts=facts,
        command=_LIST_ALL,
        rule=first.rule,
        at_us=_fired(first),
    )


def together(
    told: Sequence[Told], total: int | None = None, *, still_open: int | None = None
) -> Content:
    """Say in one message how things are with everything it tells: in full with what still holds.

    ``total`` and ``still_open`` count what is not in ``told`` too.
    """
    first, *others = sorted(told, key=lambda each: each.over)
    content = _now(first)
    more = (len(told) if total is None else total) - 1
    if not more:
        return content
    shown = others[:MAX_DIGEST]
    facts = [Fact(name=other.content.alert, value=_cut(_headline(other))) for other in shown]
    if more > len(shown):
        facts.append(Fact(name="More", value=f"{more - len(shown):,} in the list of alerts"))
    if still_open is None:
        still_open = sum(not each.over for each in told) + more - len(others)
    by = {each.acknowledged for each in told if not each.over}
    return msgspec.structs.replace(
        content,
        status=_status(first, others) if still_open else "resolved",
        title=f"{content.title}, and {more:,} more",
        facts=(*content.facts[: MAX_FACTS - len(facts)], *facts),
        evidence=content.evidence[:MAX_EVIDENCE_OF_MANY],
        evidence_omitted=0,
        command=_command_for(told, left=more - len(others)),
        acknowledged=min(by) if len(by) == 1 else "",
    )


def _command_for(told: Sequence[Told], *, left: int) -> str:
    """Return what to type about several alerts, and ``left`` more that are not given."""
    still = [each for each in told if not each.over and each.content.status in OPEN]
    names = [each.content.alert for each in still if not each.acknowledged]
    if names and not left and len(names) <= ACKNOWLEDGED_TOGETHER_MAX:
        return f"outrider alerts ack {' '.join(dict.fromkeys(names))}"
    return "outrider alerts list" if still else _LIST_ALL


def _now(told: Told) -> Content:
    """Say what was told and what is so now."""
    content = told.content
    if content.status not in OPEN or not (told.over or told.acknowledged):
        return content
    # There is nothing to acknowledge any more.
    content = msgspec.structs.replace(content, command=f"outrider alerts show {content.alert}")
    if told.over:
        over = {"status": "resolved", "title": f"Over: {content.title}"}
        return msgspec.structs.replace(content, **over, acknowledged="")
    sentence = f"{content.sentence} Acknowledged by {told.acknowledged}."
    return msgspec.structs.replace(
        content, sentence=sentence.strip(), acknowledged=told.acknowledged
    )


def _status(first: Told, others: Sequence[Told]) -> Status:
    for each in (first, *others):
        if not each.over and each.content.status in OPEN:
            return each.content.status
    return first.content.status


def _headline(told: Told) -> str:
    now = _now(told)
    return f"{now.title} ({now.acknowledged} looks after it)" if now.acknowledged else now.title


def trial(channel: str, actor: str, collector: str, now_us: int) -> Content:
    """Say that somebody tries a channel."""
    return Content(
        alert="",
        status="test",
        priority="info",
        subject=f"Outrider: test of channel {channel}",
        title=f"Test of channel {channel}",
        sentence="Nothing is wrong: somebody tried whether messages arrive here.",
        facts=(Fact(name="Sent by", value=actor), Fact(name="Collector", value=collector)),
        at_us=now_us,
    )


def canary() -> Content:
    """Say nothing to nobody: whether it gets through is what it is for."""
    return Content(
        alert="",
        status="test",
        priority="info",
        subject="Outrider: canary",
        title="Canary",
        sentence="A message on its way from the feed to a channel that leads nowhere.",
    )


def name(alert_id: int) -> str:
    """Return what people call an alert: ``A-12``."""
    return f"A-{alert_id}"


def _content(
    alert: Alert,
    status: Status,
    title: str,
    sentence: str,
    command: str,
) -> Content:
    evidence = alert.evidence[:MAX_EVIDENCE]
    matched = int(alert.value) if alert.value is not None and status != "resolved" else 0
    return Content(
        alert=name(alert.id),
        status=status,
        priority=alert.priority,
        subject=f"{_one_line(_called(alert))} [{name(alert.id)}]",
        title=title,
        sentence=sentence,
        facts=tuple(_facts(alert)),
        evidence=tuple(
            msgspec.structs.replace(line, message=_cut(line.message)) for line in evidence
        ),
        evidence_omitted=max(0, matched - len(evidence)) if evidence else 0,
        runbook=alert.runbook,
        command=command,
        rule=alert.rule,
        at_us=alert.started_us,
        ended_us=alert.resolved_us,
        labels=alert.labels,
    )


def _called(alert: Alert) -> str:
    """Return what does not change about an alert: the summary of a gap says how much by now."""
    if alert.kind != "gap":
        return alert.summary
    whose = [value for key in ("service", "worker", "host") if (value := alert.labels.get(key))]
    return f"{alert.rule}: lost records{' of ' if whose else ''}{', '.join(whose)}"


def _ack(alert: Alert) -> str:
    return f"outrider alerts ack {name(alert.id)}"


def _facts(alert: Alert) -> list[Fact]:
    labels = {k: v for k, v in alert.labels.items() if k not in _TOLD_ELSEWHERE}
    first = [key for key in ("service", "worker", "host") if key in labels]
    rest = [key for key in labels if key not in first]
    return [
        Fact(name=key.replace("_", " ").capitalize(), value=_cut(labels[key]))
        for key in (*first, *rest)
    ][:MAX_FACTS]


def _since(alert: Alert, now_us: int) -> str:
    since = clock_time(alert.started_us, now_us)
    if now_us - alert.started_us > MINUTE_US:
        since = f"{since}, {said(now_us - alert.started_us)} ago"
    if alert.kind == "liveness" and "state" in alert.labels:
        return f"{alert.labels['state'].capitalize()} since {since}."
    # How much was lost stands in the title.
    if alert.value is None or alert.kind == "gap":
        return f"Since {since}."
    count = int(alert.value)
    counted = "1 record" if count == 1 else f"{count:,} records"
    if alert.kind == "match":
        return f"{counted} since {since}."
    above = f", above {int(alert.threshold):,}" if alert.threshold is not None else ""
    return f"{counted}{above}, since {since}."


def _over(alert: Alert, now_us: int) -> str:
    at = clock_time(alert.resolved_us or now_us, now_us)
    return f"Resolved at {at} after {said(_lasted(alert))}"


def _over_title(alert: Alert) -> str:
    reason = alert.resolve_reason or ""
    if reason.startswith("withdrawn"):
        return f"Closed: {alert.summary}"
    if alert.kind == "liveness" and reason:
        who = alert.labels.get("worker") or f"The agent on {alert.labels.get('host', '?')}"
        state = reason.split(" ", 1)[0].rstrip(":")
        return f"{who} is {state} again" if state == "up" else f"{who} is {state} now"
    return f"Over: {alert.summary}"


def _reason(alert: Alert) -> str:
    return f": {alert.resolve_reason}" if alert.resolve_reason else ""


def _fired(alert: Alert) -> int:
    return alert.fired_us if alert.fired_us is not None else alert.started_us


def _lasted(alert: Alert) -> int:
    end = alert.resolved_us if alert.resolved_us is not None else _fired(alert)
    return max(0, end - _fired(alert))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SUBJECT else line[: MAX_SUBJECT - 1] + "…"
