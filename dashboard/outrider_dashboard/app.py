"""The pages as one ASGI application: routes, middleware, what lives as long as the process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from outrider.errors import Fault, Reason
from outrider_dashboard import sampler, timing
from outrider_dashboard.abandoned import Abandoned
from outrider_dashboard.numbers import stored
from outrider_dashboard.pages import (
    alerts,
    audit,
    health,
    kit,
    log_complete,
    log_export,
    log_line,
    log_tail,
    logs,
    monitoring,
    overview,
    status,
    worker,
    workers,
)
from outrider_dashboard.rendering import STATIC
from outrider_dashboard.security import Guard
from outrider_dashboard.site import THEMES, Visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Scope

    from outrider_dashboard.site import Site

_YEAR_S = 31_536_000


class _Id(IntegerConvertor):
    """A number of the store. What 63 bits do not hold is no page's address."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        number = stored(value)
        if number is None:
            raise HTTPException(404)
        return number


register_url_convertor("id", _Id())


class _Assets(StaticFiles):
    """Static files, kept for a year: their address changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        kept = bool(scope.get("query_string"))
        response.headers["cache-control"] = (
            f"public, max-age={_YEAR_S}, immutable" if kept else "no-cache"
        )
        return response


def build(site: Site) -> Starlette:
    """Put the application together."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sampling = asyncio.create_task(
            sampler.run(site.gauges, site.source.workers, site.now), name="gauge sampler"
        )
        try:
            yield
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling

    app = Starlette(
        routes=[*_routes(), *(_status_routes() if site.status_page else [])],
        lifespan=lifespan,
        middleware=[
            Middleware(
                Guard,
                public=(*status.PATHS, "/static/") if site.status_page else (),
                responses=site.responses,
            ),
            Middleware(Abandoned),
            # Event streams are left alone by the middleware itself.
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
        ],
        exception_handlers={404: _not_found, Fault: _refused, 500: _broken},
    )
    app.state.site = site
    return app


def _routes() -> list[Route | Mount]:
    return [
        Route("/", overview.page),
        Route("/logs", logs.page),
        Route("/logs/rows", logs.rows),
        Route("/logs/cost", logs.cost),
        Route("/logs/complete", log_complete.complete),
        Route("/logs/tail", log_tail.tail),
        Route("/logs/export.{form}", log_export.download),
        Route("/logs/gap/{gap:id}", log_line.gap),
        Route("/logs/line/{stream:id}/{offset:id}", log_line.line),
        Route("/workers", workers.page),
        Route("/workers/{service}/{name}", worker.page),
        Route("/health", health.page),
        Route("/audit", audit.page),
        Route("/audit/export.csv", audit.download),
        Route("/alerts", alerts.page),
        Route("/alerts/notices.json", alerts.notices_json),
        Route("/alerts/{alert:id}", alerts.page),
        Route("/healthz", monitoring.healthz),
        Route("/readyz", monitoring.readyz),
        Route("/metrics", monitoring.metrics),
        Route("/kit", kit.page),
        Route("/live", log_tail.changes),
        Route("/display", _display),
        Route("/favicon.ico", _favicon),
        Mount("/static", _Assets(directory=STATIC)),
    ]


def _status_routes() -> list[Route]:
    return [Route("/status", status.page), Route("/status.json", status.document)]


async def _display(request: Request) -> Response:
    """Keep a visitor's choice of zone or theme in a cookie, and go back."""
    back = request.query_params.get("back", "/")
    parts = urlsplit(back)
    safe = back.startswith("/") and not parts.netloc and not back.startswith(("//", "/\\"))
    response = RedirectResponse(back if safe else "/", status_code=303)
    zone, theme = request.query_params.get("zone"), request.query_params.get("theme")
    if zone and timing.zone_named(zone) is not None:
        response.set_cookie("zone", zone, max_age=_YEAR_S, samesite="lax", httponly=True)
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=_YEAR_S, samesite="lax", httponly=True)
    return response


async def _favicon(_: Request) -> Response:
    return RedirectResponse("/static/mark.svg", status_code=301)


async def _not_found(request: Request, _: Exception) -> Response:
    fault = Fault(Reason.NOT_FOUND, detail="No page has this address.")
    return Visit(request).problem(fault)


async def _refused(request: Request, fault: Exception) -> Response:
    """Answer an address that asks for what cannot be, such as a page's position that is none."""
    assert isinstance(fault, Fault)  # noqa: S101  registered for nothing else
    return Visit(request).problem(fault)


async def _broken(request: Request, error: Exception) -> Response:
    visit = Visit(request)
    visit.site.record(
        "ui.error_shown", {"path": request.url.path, "error": f"{type(error).__name__}: {error}"}
    )
    return visit.problem(Fault(Reason.INTERNAL_BUG))
