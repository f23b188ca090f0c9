"""A dashboard that serves over a real socket, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvicorn

from outrider_dashboard.app import build
from outrider_dashboard.cli import listen, make_site
from outrider_dashboard.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outrider_dashboard.site import Site


@dataclass
class Served:
    """A running dashboard: its address, and what it wrote about itself."""

    url: str
    records: list[tuple[str, dict[str, object]]] = field(default_factory=list)


@contextmanager
def serving(
    database_url: str, port: int = 0, change: Callable[[Site], None] | None = None
) -> Iterator[Served]:
    """Serve until the block ends. ``change`` may break something first."""
    listener = listen("127.0.0.1", port)
    served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}")
    servers: list[uvicorn.Server] = []
    started = threading.Event()

    def record(name: str, attributes: dict[str, object]) -> None:
        served.records.append((name, attributes))

    async def serve() -> None:
        async with open_source(database_url) as source:
            site = make_site(source, "test", record, lambda: servers[0].should_exit)
            if change is not None:
                change(site)
            config = uvicorn.Config(
                build(site), log_level="error", access_log=False, timeout_graceful_shutdown=2
            )
            servers.append(uvicorn.Server(config))
            started.set()
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert started.wait(10)
        yield served
    finally:
        if servers:
            servers[0].should_exit = True
        thread.join(15)
        listener.close()
        assert not thread.is_alive()
