"""What machines ask of the dashboard: ``/healthz``, ``/readyz``, ``/metrics``.

Figures of the store are the collectors' to tell; here are those of this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from outrider.command import version
from outrider.exposition import CONTENT_TYPE, Family, exposition

if TYPE_CHECKING:
    from starlette.requests import Request

    from outrider_dashboard.site import Site


async def healthz(_: Request) -> Response:
    """Say that the process lives."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Say whether pages can be served as they should be, and why not."""
    site: Site = request.app.state.site
    reason = " ".join((await site.readiness.get(site.source.ready)).split())
    if reason:
        return PlainTextResponse(f"not ready: {reason}\n", status_code=503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Return the figures of this process."""
    site: Site = request.app.state.site
    reason = await site.readiness.get(site.source.ready)
    return Response(exposition(families(site, ready=not reason)), media_type=CONTENT_TYPE)


def families(site: Site, *, ready: bool) -> list[Family]:
    """Return the figures."""
    prefix = "outrider_dashboard"
    info = Family(f"{prefix}_info", "gauge", "Always 1; the label names the running version.")
    answers = Family(f"{prefix}_responses_total", "counter", "Answers by their HTTP status.")
    for status, count in sorted(site.responses.items()):
        answers.add(count, status=str(status))
    failures = Family(f"{prefix}_panel_failures_total", "counter", "Panels that were not read.")
    for code, count in sorted(site.boundary.failures.items()):
        failures.add(count, code=code)
    connections = Family(f"{prefix}_connections", "gauge", "Connections to the database.")
    for state, count in site.source.connections().items():
        connections.add(count, state=state)
    return [
        info.add(1, version=version()),
        Family(f"{prefix}_ready", "gauge", "1: the database answers with this schema.").add(ready),
        answers,
        failures,
        Family(f"{prefix}_event_streams", "gauge", "Browsers that watch.").add(site.hub.watchers),
        connections,
    ]
