"""Downloads that do not come to their end are recorded all the same."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from outrider_dashboard.app import build
from outrider_dashboard.pages import audit, log_export

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.dashboard.conftest import Pages


async def test_a_download_that_is_cut_off_is_recorded(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rows that had left, whoever broke it off."""
    monkeypatch.setattr(audit, "EXPORT_ROWS", 3)
    read = pages.site.source.audit_rows

    async def once(asked: Any, limit: int, before: int | None = None) -> Any:
        if before is not None:
            raise ConnectionResetError
        return await read(asked, limit, before)

    monkeypatch.setattr(pages.site.source, "audit_rows", once)
    with pytest.raises(ConnectionResetError):
        await pages.client.get("/audit/export.csv")
    exports = [a for name, a in pages.records if name == "audit.exported"]
    assert [(a["rows"], a["outcome"]) for a in exports] == [(3, "cut off")]


async def test_an_export_that_its_reader_leaves_is_recorded(pages: Pages) -> None:
    """A browser that goes away closes the body; what had left until then is counted."""
    scope = {
        "type": "http", "method": "GET", "path": "/logs/export.csv", "query_string": b"range=24h",
        "headers": [], "path_params": {"form": "csv"}, "app": build(pages.site),
    }  # fmt: skip
    answer = await log_export.download(Request(scope))
    assert isinstance(answer, StreamingResponse)
    body = cast("AsyncGenerator[str, None]", answer.body_iterator)
    await anext(body)
    lines = (await anext(body)).count("\n")
    await body.aclose()

    (export,) = [a for name, a in pages.records if name == "audit.exported"]
    assert (export["lines"], export["outcome"]) == (lines, "cut off")
    assert lines > 0


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_a_compressed_export_is_the_export(pages: Pages, form: str) -> None:
    """Unpacked it is the same bytes, and what is recorded of it has the exact count."""
    asked = "q=service%3Atrading&range=24h"
    plain = await pages.client.get(f"/logs/export.{form}?{asked}")
    packed = await pages.client.get(f"/logs/export.{form}.gz?{asked}")

    assert packed.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in packed.headers
    assert packed.headers["content-disposition"].endswith(f'.{form}.gz"')
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 3
    exports = [a for name, a in pages.records if name == "audit.exported"]
    # Neither a header nor the end is a line.
    assert {a["lines"] for a in exports} == {plain.text.count("\n") - 1}
    assert (await pages.client.get("/logs/export.xml.gz")).status_code == 404


async def test_a_compressed_export_that_its_reader_leaves_is_recorded(pages: Pages) -> None:
    """Closing what compresses closes what reads."""
    scope = {
        "type": "http", "method": "GET", "path": "/logs/export.csv.gz",
        "query_string": b"range=24h", "headers": [], "path_params": {"form": "csv.gz"},
        "app": build(pages.site),
    }  # fmt: skip
    answer = await log_export.download(Request(scope))
    assert isinstance(answer, StreamingResponse)
    body = cast("AsyncGenerator[bytes, None]", answer.body_iterator)
    await anext(body)
    await body.aclose()
    (export,) = [a for name, a in pages.records if name == "audit.exported"]
    assert export["outcome"] == "cut off"
