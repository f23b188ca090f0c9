"""A notice as a Telegram message: at most 4,096 UTF-16 units by construction.

Telegram counts what a reader sees, after markup and entities are taken away. So each block is cut
to its own limit while it is still plain text, then escaped and dressed; rendered text is never cut,
and no message can end inside a tag. The limits add up: head, facts and foot can never need more
than about 3,000 units, evidence shares what is left, line by line.

Markup is HTML, where only ``& < > "`` mean something. The same spans without their tags are the
plain text that is sent should Telegram refuse the markup all the same.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from outrider_alerting.channels.text import clip, evidence_line, one_line, units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_alerting.channels.channel import Message
    from outrider_alerting.content import Content

TEXT_LIMIT_UNITS: Final = 4096
_TITLE_UNITS = 300
_SENTENCE_UNITS = 600
_FACTS_MAX = 12
_FACT_NAME_UNITS = 40
# All values together.
_FACT_VALUES_UNITS = 1_200
_COMMAND_UNITS = 120
_RULE_UNITS = 100
# An address longer than this is shown nowhere and would only be refused.
_URL_CHARACTERS = 1024
# Below this a line of evidence says nothing; fewer lines are shown instead.
_LINE_UNITS_MIN = 60

_REPEAT = "This may repeat an earlier message: its delivery was never confirmed."
_DOT = " \N{MIDDLE DOT} "
_ALERT = re.compile(r"A-\d+|More")
# About a line on a phone.
_SIDE_BY_SIDE_UNITS = 48
_MARKS = {
    "firing": "\N{LARGE RED CIRCLE}",
    "still firing": "\N{LARGE RED CIRCLE}",
    "resolved": "\N{WHITE HEAVY CHECK MARK}",
    "fired and resolved": "\N{WHITE HEAVY CHECK MARK}",
    "test": "\N{LARGE BLUE CIRCLE}",
}
_WARNING_MARK = "\N{LARGE ORANGE CIRCLE}"


class Span(NamedTuple):
    """Text in one style; the tag is HTML's, empty for none."""

    text: str
    tag: str = ""
    href: str = ""


Line = tuple[Span, ...]


def render_html(message: Message, *, page: str | None = None) -> str:
    """Return the message as Telegram's HTML; the alert's name leads to its ``page``."""
    lines = compose(message, page=page)
    return "\n".join("".join(_dressed(span) for span in line) for line in lines)


def render_plain(message: Message) -> str:
    """Return what a reader of the HTML would see, without markup."""
    return "\n".join("".join(map(_plain, line)) for line in compose(message))


def compose(message: Message, *, page: str | None = None) -> list[Line]:
    """Lay out the message; all text is clean and within its limits."""
    content = message.content
    head = _head(content)
    foot = _foot(content, page, may_repeat=message.may_repeat)
    used = sum(units(_plain(span)) for line in (*head, *foot) for span in line)
    # One newline after every line, and one for the evidence itself and its remark.
    room = TEXT_LIMIT_UNITS - used - len(head) - len(foot) - 2
    return [*head, *_evidence(content, room), *foot]


def _head(content: Content) -> list[Line]:
    mark = _MARKS[content.status]
    if content.priority != "critical" and "resolved" not in content.status:
        mark = _WARNING_MARK if content.priority == "warning" else _MARKS["test"]
    lines: list[Line] = [
        (Span(f"{mark} "), Span(clip(one_line(content.title), _TITLE_UNITS) or "alert", "b"))
    ]
    if sentence := clip(one_line(content.sentence), _SENTENCE_UNITS):
        lines.append((Span(sentence),))
    lines.extend(_facts(content))
    return lines


def _facts(content: Content) -> list[Line]:
    """Set where it is side by side, as far as that fits; other alerts stand one below another."""
    facts = content.facts[:_FACTS_MAX]
    values = _shared([one_line(fact.value) for fact in facts], _FACT_VALUES_UNITS)
    lines: list[Line] = []
    room = 0
    for fact, value in zip(facts, values, strict=True):
        name = clip(one_line(fact.name), _FACT_NAME_UNITS)
        is_alert = _ALERT.fullmatch(name) is not None
        # Ten bold lines would be one block.
        spans = (
            (Span(f"{name}: "), Span(value)) if is_alert else (Span(f"{name} "), Span(value, "b"))
        )
        taken = units(name) + units(value) + 4
        if not is_alert and taken <= room:
            lines[-1] = (*lines[-1], Span(_DOT), *spans)
            room -= taken
        else:
            lines.append(spans)
            room = 0 if is_alert else _SIDE_BY_SIDE_UNITS - taken
    return lines


def _foot(content: Content, page: str | None, *, may_repeat: bool) -> list[Line]:
    lines: list[Line] = []
    if content.runbook and len(content.runbook) <= _URL_CHARACTERS:
        lines.append((Span("Runbook", "a", one_line(content.runbook)),))
    if content.command:
        lines.append((Span(clip(one_line(content.command), _COMMAND_UNITS), "code"),))
    if content.alert:
        alert = clip(one_line(content.alert), _FACT_NAME_UNITS)
        rest = one_line(_DOT.join(filter(None, (content.priority, content.rule))))
        link = page if page and len(page) <= _URL_CHARACTERS else None
        named = Span(alert, "a", link) if link else Span(alert, "i")
        lines.append((named, Span(clip(_DOT + rest, _RULE_UNITS), "i")))
    if may_repeat:
        lines.append((Span(_REPEAT, "i"),))
    return lines


def _evidence(content: Content, room: int) -> list[Line]:
    """Show as many lines as fit legibly, each within its share of the room."""
    lines = [evidence_line(line) for line in content.evidence]
    omitted = content.evidence_omitted
    remark_units = 40
    fit = max(0, (room - remark_units) // (_LINE_UNITS_MIN + 1))
    if len(lines) > fit:
        omitted += len(lines) - fit
        lines = lines[:fit]
    shown = _shared(lines, room - remark_units)
    block: list[Line] = []
    if shown:
        block.append((Span("\n".join(shown), "pre"),))
    if omitted:
        block.append((Span(f"and {min(omitted, 10**12)} more like these"),))
    return block


def _shared(lines: Sequence[str], room: int) -> list[str]:
    """Cut each line to an even share; what short lines leave over goes to the long ones."""
    room -= len(lines)
    shares: dict[int, int] = {}
    by_length = sorted(range(len(lines)), key=lambda i: units(lines[i]))
    for place, index in enumerate(by_length):
        share = room // (len(lines) - place)
        shares[index] = min(share, units(lines[index]))
        room -= shares[index]
    return [clip(line, shares[index]) for index, line in enumerate(lines)]


def _dressed(span: Span) -> str:
    text = html.escape(span.text)
    if not span.tag or not text:
        return text
    href = f' href="{html.escape(span.href)}"' if span.href else ""
    return f"<{span.tag}{href}>{text}</{span.tag}>"


def _plain(span: Span) -> str:
    return span.text
