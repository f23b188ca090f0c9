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
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

from outrider.instants import from_us
from outrider_alerting.channels.text import clip, evidence_line, one_line
from outrider_alerting.content import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_alerting.channels.channel import Message
    from outrider_alerting.content import Content

_SUBJECT_UNITS = 200
_TEXT_UNITS = 2_000
_LINE_UNITS = 1_000
_REPEAT = "This may repeat an earlier letter: its delivery was never confirmed."
_UNSAFE = re.compile(r"[^a-z0-9]+")
_COLOURS = {"critical": "#c0241c", "warning": "#8a5a00", "info": "#1b5ecb", "over": "#0b7565"}
_MARKS = {
    "firing": "\N{BLACK DIAMOND} ",
    "still firing": "\N{BLACK DIAMOND} ",
    "resolved": "\N{CHECK MARK} ",
    "fired and resolved": "\N{CHECK MARK} ",
}
_MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
_WRAP = "overflow-wrap:anywhere"
_SMALL = "font-size:12px;line-height:16px"
# Styles stand on the elements, because some readers drop the sheet; what is in it is for the dark.
_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>@media (prefers-color-scheme:dark){{body,div{{background:#0d0f12!important;\
color:#e7eaee!important}}.critical{{color:#ff7a70!important}}.warning{{color:#e9b44c!important}}\
.info{{color:#7db3ff!important}}.over{{color:#4abfa8!important}}\
.inset{{background:#14171b!important}}.small{{color:#8b94a0!important;\
border-color:#22272e!important}}div.critical{{border-color:#ff7a70!important}}\
div.warning{{border-color:#e9b44c!important}}div.info{{border-color:#7db3ff!important}}\
div.over{{border-color:#4abfa8!important}}a{{color:#7db3ff!important}}}}</style></head>
<body style="margin:0;background:#fafaf8">
<div style="display:none;max-height:0;overflow:hidden">{preheader}</div>
<div style="max-width:640px;margin:0 auto;padding:24px 16px;color:#15181c;\
font:15px/22px -apple-system,BlinkMacSystemFont,'Segoe UI',Inter,Roboto,Arial,sans-serif">"""


def letter(
    message: Message, sender: str, recipients: Sequence[str], *, page: str | None = None
) -> EmailMessage:
    """Write the letter, with the address of the alert's page where it has one.

    Raises ValueError for an address that is none.
    """
    content = message.content
    address = Address(addr_spec=sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Outrider", addr_spec=sender)
    mail["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    mail["Subject"] = clip(one_line(content.subject), _SUBJECT_UNITS)
    mail["Date"] = format_datetime(from_us(message.created_us))
    root = f"<outrider.{message.thread or message.episode}@{address.domain}>"
    if message.notice == "fired" and message.thread is None:
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
    mail.set_content(_plain(content, page, may_repeat=message.may_repeat))
    mail.add_alternative(_html(content, page, may_repeat=message.may_repeat), subtype="html")
    return mail


def _plain(content: Content, page: str | None, *, may_repeat: bool) -> str:
    lines = [f"{_status(content)}: {_text(content.title)}"]
    if content.sentence:
        lines += ["", _text(content.sentence)]
    if content.facts:
        lines += ["", *(f"{_text(fact.name)}: {_text(fact.value)}" for fact in content.facts)]
    if content.evidence:
        lines += ["", *(f"  {line}" for line in _evidence(content))]
    if content.evidence_omitted:
        lines.append(f"  and {content.evidence_omitted:,} more like these")
    if steps := _steps(content, page):
        lines += ["", *(f"{name}: {what}" for name, what, _ in steps)]
    if may_repeat:
        lines += ["", _REPEAT]
    return "\n".join(lines) + "\n"


def _steps(content: Content, page: str | None) -> list[tuple[str, str, bool]]:
    """Return what can be done: its name, an address or a command, and whether it is an address."""
    steps = []
    if content.runbook:
        steps.append(("Runbook", one_line(content.runbook), True))
    if page:
        steps.append(("Dashboard", one_line(page), True))
    if content.command:
        does = "Acknowledge" if " ack " in content.command else "Look closer"
        steps.append((does, one_line(content.command), False))
    return steps


def _status(content: Content) -> str:
    """Say how it is and how bad: a test is neither."""
    status = content.status.capitalize()
    return status if content.status == "test" else f"{status}, {content.priority}"


def _html(content: Content, page: str | None, *, may_repeat: bool) -> str:
    tone: str = content.priority
    mark = _MARKS.get(content.status, "")
    if content.status not in OPEN and content.status != "test":
        tone = "over"
    colour = _COLOURS[tone]
    name = " \N{MIDDLE DOT} ".join(filter(None, ("Outrider", content.alert, content.rule)))
    parts = [
        _HEAD.format(title=_escaped(content.subject), preheader=_escaped(content.sentence)),
        f'<div class="{tone}" style="border-top:3px solid {colour};padding-top:12px">',
        (
            f'<p class="{tone}" style="margin:0 0 4px;{_SMALL};font-weight:600;color:{colour}">'
            f"{mark}{_status(content)}</p></div>"
        ),
        (
            f'<h1 style="margin:0 0 8px;font-size:19px;line-height:26px;font-weight:600;{_WRAP}">'
            f"{_escaped(content.title)}</h1>"
        ),
        *_paragraph(_escaped(content.sentence)),
        *_table([(_escaped(fact.name), _escaped(fact.value)) for fact in content.facts]),
        *_lines(content),
        *_table(
            [
                (_escaped(step), _link(what) if is_link else _code(what))
                for step, what, is_link in _steps(content, page)
            ]
        ),
        *_paragraph(f"<i>{_REPEAT}</i>" if may_repeat else ""),
        (
            '<p class="small" style="margin:20px 0 0;padding-top:10px;'
            f'border-top:1px solid #e6e6e1;{_SMALL};color:#5f6770">{_escaped(name)}</p>'
        ),
        "</div></body></html>",
    ]
    return "\n".join(parts)


def _paragraph(inner: str, style: str = "") -> Iterable[str]:
    if inner:
        yield f'<p style="margin:0 0 12px;{_WRAP}{style}">{inner}</p>'


def _table(rows: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Set names, escaped, beside values, in HTML."""
    if rows:
        yield (
            '<table role="presentation" cellpadding="0" cellspacing="0" '
            'style="border-collapse:collapse;margin:0 0 12px;width:100%">'
        )
        for name, value in rows:
            yield (
                f'<tr><td class="small" style="padding:3px 12px 3px 0;vertical-align:top;'
                f'width:92px;color:#5f6770;{_WRAP}">{name}</td>'
                f'<td style="padding:3px 0;{_WRAP}">{value}</td></tr>'
            )
        yield "</table>"


def _lines(content: Content) -> Iterable[str]:
    if content.evidence:
        shown = html.escape("\n".join(_evidence(content)))
        below = 4 if content.evidence_omitted else 12
        yield (
            f'<pre class="inset" style="margin:0 0 {below}px;padding:10px 12px;background:#f4f4f1;'
            f'border-radius:6px;white-space:pre-wrap;{_WRAP};font:12px/18px {_MONO}">{shown}</pre>'
        )
    if content.evidence_omitted:
        yield (
            f'<p class="small" style="margin:0 0 12px;{_SMALL};color:#5f6770">'
            f"and {content.evidence_omitted:,} more like these</p>"
        )


def _code(command: str) -> str:
    return f'<code style="font:13px/22px {_MONO};{_WRAP}">{_escaped(command)}</code>'


def _link(address: str) -> str:
    shown = _escaped(address)
    return f'<a href="{shown}" style="color:#1b5ecb">{shown}</a>'


def _evidence(content: Content) -> list[str]:
    return [clip(evidence_line(line), _LINE_UNITS) for line in content.evidence]


def _text(text: str) -> str:
    return clip(one_line(text), _TEXT_UNITS)


def _escaped(text: str) -> str:
    return html.escape(_text(text))
