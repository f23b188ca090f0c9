"""All workers: the tiles of the overview, and the hosts they run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_collector.store.reading.types import STATES
from outrider_dashboard import numbers
from outrider_dashboard.numbers import plural
from outrider_dashboard.pages.tiles import MOST_TILES, Service, services
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from outrider_collector.store.reading.types import Worker


@dataclass(frozen=True)
class View:
    """Tiles by service, and a sentence."""

    title: str
    support: str
    states: list[tuple[str, int]]
    services: list[Service]
    cells: bool
    workers: int


async def page(request: Request) -> Response:
    """Render all workers, or those of one host."""
    visit = await Visit.begin(request)
    source = visit.site.source
    found, activity, agents, alerts = await together(
        visit.panel("Workers", source.workers),
        visit.panel("Lines by worker", source.activity),
        visit.panel("Agents", source.agents),
        visit.open_alerts(),
    )
    host = visit.parameter("host", 255)
    view = None
    if found.value is not None:
        chosen = [w for w in found.value if not host or w.host == host]
        view = _view(chosen, host, services(chosen, activity.value, visit.clock))
    return visit.page(
        "workers.html",
        "Workers",
        alerts,
        panel=found,
        view=view,
        agents=agents,
        host=host,
        stale=not (found.fresh and alerts.fresh),
    )


def _view(workers: Sequence[Worker], host: str, grouped: list[Service]) -> View:
    states: dict[str, int] = {}
    for worker in workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    living = len(workers) - states.get("retired", 0)
    up = states.get("up", 0)
    where = f" on {host}" if host else ""
    if not workers:
        title = f"No worker has reported yet{where}"
    elif not living:
        title = f"No worker runs{where}, all ended as they should"
    elif up == living:
        title = f"{plural(living, 'worker')}{where}, all up" if living > 1 else "The worker is up"
    else:
        title = f"{numbers.count(up)} of {plural(living, 'worker')}{where} are up"
    order = {state: i for i, state in enumerate(STATES)}
    return View(
        title=title,
        support=f"In {plural(len(grouped), 'service')}, worst first.",
        states=sorted(states.items(), key=lambda item: order.get(item[0], 9)),
        services=grouped,
        cells=living > MOST_TILES,
        workers=living,
    )
