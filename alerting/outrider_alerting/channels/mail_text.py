"""A notice as a letter: headers that make a thread, text first, the same as HTML after it.

All letters of an episode share one subject and refer to the first letter's Message-ID: Gmail makes
a thread only of equal subjects. So the status stands in the first line, not in the subject. The
Message-ID follows from episode and notice; a repeat after an unknown outcome carries the same one,
and mail systems that drop duplicates drop it.

Log text never reaches a header except through :func:`one_line`, and ``EmailMessage`` under
``policy.SMTP`` refuses line breaks in headers besides.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

from outrider_alerting.channels.text import clip, evidence_line, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_alerting.channels.channel import Message
    from outrider_alerting.content import Content

_SUBJECT_UNITS = 200
_TEXT_UNITS = 2_000
_LINE_UNITS = 1_000
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_REPEAT = "This may repeat an earlier letter: its delivery was never confirmed."
_UNSAFE = re.compile(r"[^a-z0-9]+")
_COLOURS = {"critical": "#b3261e", "warning": "#b06000", "info": "#1a5fb4"}
_RESOLVED_COLOUR = "#1e7d34"


def letter(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Write the letter. Raises ValueError for an address that is none."""
    content = message.content
    address = Address(addr_spec=sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Outrider", addr_spec=sender)
    mail["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    mail["Subject"] = clip(one_line(content.subject), _SUBJECT_UNITS)
    mail["Date"] = format_datetime(_EPOCH + timedelta(microseconds=message.created_us))
    root = f"<outrider.{message.episode}@{address.domain}>"
    if message.notice == "fired":
        mail["Message-ID"] = root
    else:
        notice = _UNSAFE.sub("-", message.notice.lower())
        mail["Message-ID"] = f"<outrider.{message.episode}.{notice}@{address.domain}>"
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    rule = _UNSAFE.sub("-", content.rule.lower()).strip("-")[:100] or "outrider"
    mail["List-Id"] = f"<{rule}.outrider.{address.domain}>"
    mail["X-Outrider-Alert"] = one_line(content.alert)
    mail["X-Outrider-Status"] = content.status
    mail.set_content(_plain(content, may_repeat=message.may_repeat))
    mail.add_alternative(_html(content, may_repeat=message.may_repeat), subtype="html")
    return mail


def _plain(content: Content, *, may_repeat: bool) -> str:
    lines = [f"{content.status.upper()} ({content.priority}): {_text(content.title)}"]
    if content.sentence:
        lines += ["", _text(content.sentence)]
    if content.facts:
        lines += ["", *(f"{_text(fact.name)}: {_text(fact.value)}" for fact in content.facts)]
    if content.evidence:
        lines += ["", *(f"  {line}" for line in _evidence(content))]
    if content.evidence_omitted:
        lines.append(f"  and {content.evidence_omitted} more like these")
    if content.runbook:
        lines += ["", f"Runbook: {one_line(content.runbook)}"]
    if content.command:
        lines += ["", one_line(content.command)]
    if may_repeat:
        lines += ["", _REPEAT]
    return "\n".join(lines) + "\n"


def _html(content: Content, *, may_repeat: bool) -> str:
    colour = _COLOURS[content.priority]
    if "resolved" in content.status:
        colour = _RESOLVED_COLOUR
    status = f"{content.status.upper()} ({content.priority})"
    head = (
        f'<p style="margin:0 0 8px;border-left:4px solid {colour};padding:2px 0 2px 10px">'
        f'<b style="color:{colour}">{status}</b><br><b>{_escaped(content.title)}</b></p>'
    )
    parts = [
        '<!doctype html><html><body style="font:15px/1.45 system-ui,sans-serif;color:#1c1c1c">',
        head,
        *_paragraph(_escaped(content.sentence)),
        *_table(content),
        *_lines(content),
        *_paragraph(_link(content.runbook)),
        *_paragraph(f"<code>{_escaped(content.command)}</code>" if content.command else ""),
        *_paragraph(f"<i>{_REPEAT}</i>" if may_repeat else ""),
        "</body></html>",
    ]
    return "\n".join(parts)


def _paragraph(inner: str) -> Iterable[str]:
    if inner:
        yield f'<p style="margin:8px 0">{inner}</p>'


def _table(content: Content) -> Iterable[str]:
    if content.facts:
        yield '<table style="border-collapse:collapse;margin:8px 0">'
        for fact in content.facts:
            yield (
                f'<tr><td style="padding:1px 14px 1px 0;color:#666">{_escaped(fact.name)}</td>'
                f"<td>{_escaped(fact.value)}</td></tr>"
            )
        yield "</table>"


def _lines(content: Content) -> Iterable[str]:
    if content.evidence:
        shown = html.escape("\n".join(_evidence(content)))
        yield (
            '<pre style="background:#f4f4f4;padding:8px;white-space:pre-wrap;'
            f'font:13px/1.4 ui-monospace,monospace">{shown}</pre>'
        )
    yield from _paragraph(
        f"and {content.evidence_omitted} more like these" if content.evidence_omitted else ""
    )


def _link(address: str | None) -> str:
    if not address:
        return ""
    shown = _escaped(address)
    return f'Runbook: <a href="{shown}">{shown}</a>'


def _evidence(content: Content) -> list[str]:
    return [clip(evidence_line(line), _LINE_UNITS) for line in content.evidence]


def _text(text: str) -> str:
    return clip(one_line(text), _TEXT_UNITS)


def _escaped(text: str) -> str:
    return html.escape(_text(text))
