"""A notice as JSON for programs: our own shape, or the one that Alertmanager's receivers read.

Ours (``format = "outrider"``), one object a message::

    {"version": 1, "channel": "hook", "id": "12.814000000/fired", "notice": "fired",
     "status": "firing", "alert": "A-12", "priority": "critical", "rule": "payment-errors",
     "labels": {"service": "payments", ...}, "subject": "...", "title": "...", "sentence": "...",
     "since": "2026-03-01T12:00:00.000000Z", "until": null,
     "evidence": [{"at": "...", "severity": "ERROR", "service": "payments", "worker": "w1",
                   "message": "...", "stream": 7, "stream_offset": 512}],
     "evidence_omitted": 6, "runbook": "https://...", "page": "https://.../alerts/12",
     "may_repeat": false,
     "together_with": [{the same keys, for each other alert that this message tells}],
     "omitted": 0}

``page`` is the alert's page where the channel has a ``dashboard_url``, else null.
``status`` is ``firing``, ``still firing``, ``resolved``, ``fired and resolved`` or ``test``; ``id``
is the same at every attempt, of a message that tells the same alerts.

What belongs together has the same ``alert``. That nothing can be stored is told before it is an
alert: then ``alert`` is empty, and at the end it is not. Its beginning and end, both told alone,
have the same ``labels.incident`` and the same ``id`` up to the ``/``; in Alertmanager's shape, the
same ``fingerprint``. Alertmanager's shape is its version 4, with ``alertname`` and
``severity`` among the labels; a test is an alert ``OutriderTest`` that has ended already. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from outrider.instants import from_us
from outrider_alerting import outage
from outrider_alerting.channels.text import clean, one_line
from outrider_alerting.content import page

if TYPE_CHECKING:
    from outrider_alerting.channels.channel import Message
    from outrider_alerting.channels.webhook import WebhookSettings
    from outrider_alerting.content import Content

ALERTS_MAX: Final = 100
"""Alerts of one message that are told one by one; the rest is counted."""

_NEVER = "0001-01-01T00:00:00Z"


def body(message: Message, settings: WebhookSettings) -> bytes:
    """Return the body of the request, UTF-8 JSON in the channel's ``format``."""
    shape = _alertmanager if settings.format == "alertmanager" else _own
    document = shape(message, settings.name, settings.dashboard_url)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def identity(message: Message) -> str:
    """Return what names this notice for ever: the same at every attempt."""
    return f"{message.episode}/{message.notice}"


def _own(message: Message, channel: str, dashboard: str | None) -> dict[str, Any]:
    first, *others = message.parts or (message.content,)
    shown = others[: ALERTS_MAX - 1]
    return {
        "version": 1,
        "channel": channel,
        "id": identity(message),
        "notice": message.notice,
        **_told(first, dashboard),
        "may_repeat": message.may_repeat,
        "together_with": [_told(other, dashboard) for other in shown],
        "omitted": message.total - 1 - len(shown),
    }


def _told(content: Content, dashboard: str | None) -> dict[str, Any]:
    return {
        "status": content.status,
        "alert": content.alert,
        "priority": content.priority,
        "rule": content.rule,
        "labels": _labels(content),
        "subject": one_line(content.subject),
        "title": one_line(content.title),
        "sentence": one_line(content.sentence),
        "since": _time(content.at_us),
        "until": None if content.ended_us is None else _time(content.ended_us),
        "evidence": [
            {
                "at": _time(line.at_us),
                "severity": line.severity,
                "service": clean(line.service),
                "worker": clean(line.worker),
                "message": clean(line.message),
                "stream": line.stream,
                "stream_offset": line.stream_offset,
            }
            for line in content.evidence
        ],
        "evidence_omitted": content.evidence_omitted,
        "runbook": content.runbook,
        "page": page(content, dashboard),
    }


def _alertmanager(message: Message, channel: str, dashboard: str | None) -> dict[str, Any]:
    parts = message.parts or (message.content,)
    alerts = [_alert(part, message.episode, dashboard) for part in parts[:ALERTS_MAX]]
    over = all(alert["status"] == "resolved" for alert in alerts)
    rule = _alertname(message.content)
    return {
        "version": "4",
        "groupKey": f"{channel}/{rule}",
        "truncatedAlerts": message.total - len(alerts),
        "status": "resolved" if over else "firing",
        "receiver": channel,
        "groupLabels": {"alertname": rule},
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": dashboard or "",
        "alerts": alerts,
    }


def _alert(content: Content, episode: str, dashboard: str | None) -> dict[str, Any]:
    # Of a test no end would follow: it is over as it is sent.
    over = "resolved" in content.status or content.status == "test"
    ended_us = content.at_us if content.status == "test" else content.ended_us
    annotations = {
        "summary": one_line(content.title),
        "description": one_line(content.sentence),
        "alert": content.alert,
        **({"runbook_url": content.runbook} if content.runbook else {}),
    }
    labels = {**_labels(content), "alertname": _alertname(content), "severity": content.priority}
    return {
        "status": "resolved" if over else "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": _time(content.at_us),
        "endsAt": _time(ended_us) if over and ended_us is not None else _NEVER,
        "generatorURL": page(content, dashboard) or "",
        "fingerprint": outage.episode(content.labels) or content.alert or episode,
    }


def _alertname(content: Content) -> str:
    return "OutriderTest" if content.status == "test" else one_line(content.rule)


def _labels(content: Content) -> dict[str, str]:
    return {one_line(name): one_line(value) for name, value in content.labels.items()}


def _common(all_of: list[dict[str, str]]) -> dict[str, str]:
    first = all_of[0]
    return {k: v for k, v in first.items() if all(each.get(k) == v for each in all_of)}


def _time(at_us: int) -> str:
    at = from_us(at_us)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z"
