"""The other end of a webhook: takes every document and keeps it."""

from __future__ import annotations

import json
from typing import Any, Self

from tests.servers.http import HttpServer, Reply, Request


class Hook:
    """Listens on loopback while the block runs."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._server = HttpServer(self._take)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    async def _take(self, request: Request) -> Reply:
        self.bodies.append(json.loads(request.body))
        return Reply(200)
