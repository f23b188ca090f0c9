"""Downloads: every line of a question as CSV or JSON Lines, streamed in constant memory.

An export equals the search it was started from: the same filter and range, one snapshot. JSON Lines
end with one more object that says how many lines came and which gaps lie in the range, so that a
file that was cut off can be told from a whole one. CSV is for spreadsheets, where such a row would
be counted as a line; a cut-off download is visible there as a failed one. With ``.gz`` the file
itself is compressed, and a cut-off one cannot be unpacked to its end.
"""

from __future__ import annotations

import json
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, StreamingResponse

from outrider.errors import Fault
from outrider_collector.store.reading import export
from outrider_dashboard import ranges
from outrider_dashboard.pages.question import question
from outrider_dashboard.site import Visit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider.filter import Filter
    from outrider_dashboard.pages.question import Question
    from outrider_dashboard.site import Site

TYPES = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/x-ndjson"}
_GZIP_LEVEL = 5
_GZIP_WINDOW_BITS = 31


async def download(request: Request) -> Response:
    """Answer with all lines of a question as a file."""
    visit = Visit(request)
    suffix: str = request.path_params["form"]
    form = suffix.removesuffix(".gz")
    if form not in TYPES:
        return PlainTextResponse(
            "Export as csv or jsonl, with .gz to have it compressed.\n", status_code=404
        )
    try:
        asked = question(visit)
    except (ranges.RangeError, Fault) as error:
        return PlainTextResponse(f"{error}\n", status_code=400)
    if asked.filter is None:
        return PlainTextResponse("The filter cannot be read.\n", status_code=400)
    if visit.site.exports.locked():
        return PlainTextResponse(
            "Two downloads run already. Start this one when they are done.\n",
            status_code=503,
            headers={"retry-after": "30"},
        )
    since, _ = asked.range.shown
    name = f"outrider-logs-{since:%Y%m%dT%H%M%SZ}.{suffix}"
    body = _body(visit.site, asked, asked.filter, form)
    return StreamingResponse(
        body if form == suffix else _compressed(body),
        media_type=TYPES[form] if form == suffix else "application/gzip",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _body(site: Site, asked: Question, filter_: Filter, form: str) -> AsyncGenerator[str]:
    since, until = asked.range.shown
    async with site.exports:
        # What left this process is recorded also where the rest of it did not.
        lines, outcome = 0, "cut off"
        try:
            if form == "csv":
                yield export.csv_header()
            write = export.csv_line if form == "csv" else export.json_line
            async for chunk in site.source.export(filter_, since, until):
                lines += len(chunk)
                yield "".join(map(write, chunk))
            gaps = await site.source.gaps(filter_, since, until)
            if form == "jsonl":
                yield _end(lines, [gap.id for gap in gaps])
            outcome = "success"
        finally:
            about = {"target": "logs", "filter_sha256": filter_.digest, "form": form}
            site.record("audit.exported", {**about, "lines": lines, "outcome": outcome})


async def _compressed(body: AsyncGenerator[str]) -> AsyncGenerator[bytes]:
    packing = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW_BITS)
    async with aclosing(body):
        async for text in body:
            if packed := packing.compress(text.encode()):
                yield packed
    yield packing.flush()


def _end(lines: int, gaps: list[int]) -> str:
    return json.dumps({"end_of_export": {"lines": lines, "gaps": gaps}}) + "\n"
