"""What all pages share, and one visit of one page."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

from outrider.errors import Fault, Reason
from outrider_dashboard import timing
from outrider_dashboard.kept import Kept
from outrider_dashboard.rendering import NAVIGATION, TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import HTMLResponse

    from outrider_collector.store.reading.types import Alert
    from outrider_dashboard.live import Hub
    from outrider_dashboard.pages.status import Status
    from outrider_dashboard.panels import Boundary, Panel
    from outrider_dashboard.sampler import GaugeHistory
    from outrider_dashboard.source import Source

THEMES = ("system", "light", "dark")


@dataclass(eq=False)
class Site:
    """The process: its data, its boundary around panels, its event hub."""

    environment: str
    source: Source
    boundary: Boundary
    hub: Hub
    gauges: GaugeHistory
    now: Callable[[], datetime]
    record: Callable[[str, dict[str, object]], None]
    """Writes an event of the dashboard's own: name and attributes."""
    stopping: Callable[[], bool] = lambda: False
    exports: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Downloads at the same time: each holds a connection for as long as it takes."""
    readiness: Kept[str] = field(default_factory=lambda: Kept(3.0))
    """Why this process is not ready, for whoever asks."""
    responses: Counter[int] = field(default_factory=Counter)
    """Answers by their HTTP status, since the start."""
    status_page: bool = False
    """Whether there is a status page, for everybody who reaches it."""
    status_hosts: bool = False
    """Whether it names hosts."""
    status: Kept[Status] = field(default_factory=lambda: Kept(10.0))
    last_status: Status | None = None
    """The last one that was known."""
    tails: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """Live searches at the same time."""


@dataclass(frozen=True)
class Display:
    """What a visitor chose, kept in cookies."""

    zone: str = "UTC"
    theme: str = "system"


class Visit:
    """One request for a page: the site, the clock of the answer, the visitor's choices."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.site: Site = request.app.state.site
        zone = request.cookies.get("zone", "UTC")
        theme = request.cookies.get("theme", "system")
        known = timing.zone_named(zone)
        self.display = Display(zone if known else "UTC", theme if theme in THEMES else "system")
        self.feed_number: int | None = None
        self.clock = timing.Clock(self.site.now(), known or UTC)

    @classmethod
    async def begin(cls, request: Request) -> Visit:
        """Begin a visit of a live page: note where the feed stands before anything is read.

        What is committed while the page is on its way is told by its event stream then.
        """
        visit = cls(request)
        feed = await visit.panel("Feed", visit.site.source.feed_last)
        visit.feed_number = feed.value if feed.fresh else None
        return visit

    def parameter(self, name: str, limit: int = 4000) -> str:
        """Return one parameter of the URL, cut to what a person could have typed."""
        return self.request.query_params.get(name, "")[:limit]

    async def panel(
        self, title: str, read: Callable[[], Awaitable[Any]], *key: object
    ) -> Panel[Any]:
        """Read one panel inside the boundary; ``key`` is what its data depends on."""
        name = f"{title}\0" + "\0".join(map(str, key))
        return await self.site.boundary.load(title, name, read)

    async def open_alerts(self) -> Panel[list[Alert]]:
        """Read the open alerts, whose number stands in the header of every page."""
        return await self.panel("Open alerts", self.site.source.open_alerts)

    def page(
        self, template: str, current: str, open_alerts: Panel[list[Alert]], **context: Any
    ) -> HTMLResponse:
        """Render a whole page."""
        return self._render(
            template,
            current=current,
            open_alerts=None if open_alerts.value is None else len(open_alerts.value),
            **{"stale": not open_alerts.fresh, **context},
        )

    def part(self, template: str, **context: Any) -> HTMLResponse:
        """Render a fragment that htmx or the script puts into a page."""
        return self._render(template, **context)

    def _render(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        url = self.request.url
        offset = self.clock.now.astimezone(self.clock.zone).utcoffset()
        shared: dict[str, Any] = {
            "t": self.clock,
            "display": self.display,
            "environment": self.site.environment,
            "navigation": NAVIGATION,
            "here": f"{url.path}?{url.query}" if url.query else url.path,
            "stale": False,
            "feed_number": self.feed_number,
            "zone_offset_s": int(offset.total_seconds()) if offset else 0,
        }
        return TEMPLATES.TemplateResponse(
            self.request, template, {**shared, **context}, status_code=status
        )

    def problem(self, fault: Fault, current: str = "") -> HTMLResponse:
        """Render a page that says why there is no page."""
        status = fault.reason.http_status if isinstance(fault.reason, Reason) else 500
        return self._render(
            "problem.html",
            status=status,
            current=current,
            open_alerts=None,
            fault=fault,
            not_found=fault.reason == Reason.NOT_FOUND,
        )


async def together(*reads: Awaitable[Any]) -> list[Any]:
    """Wait for all panels of a page at the same time; none of them raises."""
    return list(await asyncio.gather(*reads))
