"""One line: the inside of an open row, and the page of a permalink with its context."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse

from outrider.errors import Fault
from outrider.filter import parse
from outrider_collector.store.reading import export
from outrider_dashboard import columns, filter_text, ranges, sentences, timing
from outrider_dashboard.numbers import exact, plural
from outrider_dashboard.site import Visit

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.types import LogRow

_FRAME = re.compile(
    r"\s|Traceback \(|During handling|The above exception|\s*File \"|\s*at |Caused by"
)
_MOST_LINES = 400
_TRACE_AROUND = timedelta(hours=1)


@dataclass(frozen=True)
class Field:
    """One field with links that ask for only this value, or for all but it."""

    name: str
    text: str
    only_href: str = ""
    without_href: str = ""


@dataclass(frozen=True)
class Piece:
    """One line of the text; frames of a traceback are quieter than its exceptions."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Detail:
    """Everything about one line."""

    row: LogRow
    text: list[Piece]
    attributes: list[tuple[str, str]]
    fields: list[Field]
    permalink: str
    context_href: str
    trace_href: str
    trace_note: str
    """How many lines of how many workers share the trace; empty: it has none, or none counted."""
    hide_href: str
    json: str


async def line(request: Request) -> Response:
    """Render one line: alone for an open row, with its context as a page."""
    visit = Visit(request)
    stream, offset = request.path_params["stream"], request.path_params["offset"]
    source = visit.site.source
    panel = await visit.panel("Line", lambda: source.record(stream, offset), stream, offset)
    inside = request.headers.get("hx-request") == "true"
    if panel.value is None:
        if inside:
            return visit.part("log_detail.html", panel=panel, view=None)
        return visit.problem(Fault(panel.code, detail=panel.text), "Logs")
    view = detail(panel.value, visit.parameter("q"), visit.parameter("range", 20), visit.clock)
    view = replace(view, trace_note=await _trace_note(visit, panel.value))
    if inside:
        return visit.part("log_detail.html", panel=panel, view=view)
    context = await visit.panel("Context", lambda: source.context(stream, offset), stream, offset)
    alerts = await visit.open_alerts()
    return visit.page(
        "log_line.html", "Logs", alerts,
        panel=panel, view=view, context=context, columns=columns.DEFAULT,
    )  # fmt: skip


async def gap(request: Request) -> Response:
    """Lead from a gap's number to its place in the logs."""
    visit = Visit(request)
    number = request.path_params["gap"]
    panel = await visit.panel("Gap", lambda: visit.site.source.gap(number), number)
    if panel.value is None:
        return visit.problem(Fault(panel.code, detail=panel.text), "Logs")
    return RedirectResponse(sentences.gap_logs_href(panel.value), status_code=303)


def detail(row: LogRow, asked: str, length: str, clock: timing.Clock) -> Detail:
    """Build the view of one line; links change the filter ``asked``."""

    def link(text: str) -> str:
        parameters = {"q": text, "range": length if length in ranges.LENGTHS else ""}
        return "/logs?" + urlencode({k: v for k, v in parameters.items() if v})

    permalink = f"/logs/line/{row.stream}/{row.stream_offset}"
    return Detail(
        row=row,
        text=text_pieces(row),
        attributes=attributes(row),
        fields=fields(row, asked, link, clock),
        permalink=permalink,
        context_href=permalink,
        trace_href=_trace_href(row),
        trace_note="",
        hide_href=link(filter_text.with_term(asked, _like(row))) if _like(row) else "",
        json=export.json_line(row).strip(),
    )


def text_pieces(row: LogRow) -> list[Piece]:
    """Return the message, then the exception's stack, line by line."""
    text = (row.message or "").replace("\r\n", "\n")
    exception = row.attributes.get("exception")
    stack = exception.get("stacktrace") if isinstance(exception, dict) else None
    if isinstance(stack, str) and stack not in text:
        text = f"{text}\n{stack.rstrip()}"
    lines = text.split("\n")
    pieces = [
        Piece(one, "frame" if i and (not one.strip() or _FRAME.match(one)) else "")
        for i, one in enumerate(lines[:_MOST_LINES])
    ]
    if len(lines) > _MOST_LINES:
        left = len(lines) - _MOST_LINES
        pieces.append(Piece(f"\u2026 {left} more lines: export the line to read all", "frame"))
    return pieces


def attributes(row: LogRow) -> list[tuple[str, str]]:
    """Return attributes as name and JSON text; the stack is shown as text above."""
    out = []
    for name, value in row.attributes.items():
        shown: Any = value
        if name == "exception" and isinstance(value, dict) and "stacktrace" in value:
            shown = {**value, "stacktrace": "\u2026"}
        out.append((json.dumps(name, ensure_ascii=False), json.dumps(shown, ensure_ascii=False)))
    return out


def fields(row: LogRow, asked: str, link: Any, clock: timing.Clock) -> list[Field]:
    """Return the record's fields; those that can be asked for have a plus and a minus."""
    delay_ms = (row.received_at - row.ts).total_seconds() * 1000
    delay = timing.latency(abs(delay_ms))
    sign = "+" if delay_ms >= 0 else timing.MINUS
    out = [
        Field("time", clock.full(row.ts)),
        Field("received", f"{clock.row(row.received_at)} {clock.zone_name}, {sign}{delay}"),
    ]
    named: list[tuple[str, str, str | None]] = [
        ("severity", f"{row.severity} {row.level}", row.level.lower()),
        ("service", row.service, row.service),
        ("worker", row.worker, row.worker),
        ("host", row.host, row.host),
        ("logger", row.logger or "", row.logger),
        ("event", row.event or "", row.event),
        ("error_code", row.error_code or "", row.error_code),
        ("trace_id", str(row.trace_id or ""), row.trace_id.hex if row.trace_id else None),
        ("correlation_id", row.correlation_id or "", row.correlation_id),
        ("source", row.source, row.source),
    ]
    for name, text, value in named:
        if value:
            term = f"{name}:{filter_text.quoted(value)}"
            only = link(filter_text.with_term(filter_text.without(asked, name), term))
            out.append(Field(name, text, only, link(filter_text.with_term(asked, f"-{term}"))))
    out.append(Field("stream", str(row.stream)))
    out.append(Field("offset", exact(row.stream_offset)))
    return out


def _like(row: LogRow) -> str:
    """Return the term that hides lines like this one: by event, else by logger."""
    if row.event:
        return f"-event:{filter_text.quoted(row.event)}"
    if row.logger:
        return f"-logger:{filter_text.quoted(row.logger)}"
    return ""


async def _trace_note(visit: Visit, row: LogRow) -> str:
    if row.trace_id is None:
        return ""
    around = (row.ts - _TRACE_AROUND, row.ts + _TRACE_AROUND)
    shared = parse(f"trace_id:{row.trace_id.hex}")
    panel = await visit.panel(
        "Trace", lambda: visit.site.source.facets(shared, *around), row.trace_id.hex, row.ts
    )
    if panel.value is None or not panel.fresh:
        return ""
    workers = panel.value.distinct["worker"]
    return f"{plural(panel.value.lines, 'line')}, {plural(workers, 'worker')}"


def _trace_href(row: LogRow) -> str:
    if row.trace_id is None:
        return ""
    parameters = {
        "q": f"trace_id:{row.trace_id.hex}",
        "from": ranges.write(row.ts - _TRACE_AROUND),
        "to": ranges.write(row.ts + _TRACE_AROUND),
    }
    return "/logs?" + urlencode(parameters)
