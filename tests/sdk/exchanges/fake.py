"""A local server that answers as the exchanges' documented endpoints do, and as they should not."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from outrider.probes.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("binance", "bybit", "coinbase", "kraken", "okx")

REACH = {
    "binance": "/api/v3/ping",
    "bybit": "/v5/market/time",
    "coinbase": "/api/v3/brokerage/time",
    "kraken": "/0/public/Time",
    "okx": "/api/v5/public/time",
}
TIME = REACH | {"binance": "/api/v3/time"}
STATUS = {
    "binance": "/sapi/v1/system/status",
    "bybit": "/v5/system/status",
    "coinbase": "/api/v2/status.json",
    "kraken": "/0/public/SystemStatus",
    "okx": "/api/v5/system/status",
}


@dataclass(frozen=True)
class Reply:
    """One answer; ``hangs``: none until the server ends."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


def answer(body: bytes, *, status: int = 200, **headers: str) -> Response:
    """An answer as it comes out of `fetch`, for what needs no server."""
    return Response(
        status=status, headers=headers, body=body, is_cut=False, took_ms=1.0,
        tls_expires_us=None, sent_us=0, received_us=0,
    )  # fmt: skip


def js(value: Any, status: int = 200, **headers: str) -> Reply:
    """An answer in JSON; names of headers with underscores for hyphens."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, named)


def clock(exchange: str, unix_ns: int) -> Reply:
    """The time endpoint's answer, in the exchange's own form and resolution."""
    ms, s = unix_ns // 1_000_000, unix_ns // 1_000_000_000
    iso = datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return js(
        {
            "binance": {"serverTime": ms},
            "bybit": {
                "retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": ms,
                "result": {"timeSecond": str(s), "timeNano": str(unix_ns)},
            },
            "coinbase": {"iso": iso, "epochSeconds": str(s), "epochMillis": str(ms)},
            "kraken": {"error": [], "result": {"unixtime": s, "rfc1123": ""}},
            "okx": {"code": "0", "msg": "", "data": [{"ts": str(ms)}]},
        }[exchange]
    )  # fmt: skip


def okx_entry(state: str, service: str = "5", **more: str) -> dict[str, str]:
    """An announcement of OKX."""
    return {
        "title": "Trading upgrade", "state": state, "begin": "1672823400000",
        "end": "1672823520000", "href": "", "preOpenBegin": "", "scheDesc": "",
        "serviceType": service, "system": "unified", "maintType": "1", "env": "1", **more,
    }  # fmt: skip


def bybit_entry(state: str, services: tuple[int, ...] = (1,), **more: Any) -> dict[str, Any]:
    """An announcement of Bybit."""
    return {
        "id": "4d95b2a0", "title": "Upgrade", "state": state, "begin": "1751596902000",
        "end": "1751597011000", "href": "", "serviceTypes": list(services), "product": [1, 2],
        "uidSuffix": [], "maintainType": 1, "env": 1, **more,
    }  # fmt: skip


def announcement(exchange: str, said: Any) -> Reply:
    """The status endpoint's answer; ``said`` is its word, or its entries where it has a list."""
    return js(
        {
            "binance": {"status": said, "msg": "normal" if said == 0 else "system_maintenance"},
            "bybit": {"retCode": 0, "retMsg": "", "result": {"list": said}, "time": 0},
            "coinbase": {
                "page": {"id": "kr0djjh0jyy9", "name": "Coinbase"},
                "status": {"indicator": said, "description": "All Systems Operational"},
            },
            "kraken": {
                "error": [],
                "result": {"status": said, "timestamp": "2023-07-06T18:52:00Z",
                           "upcoming_maintenance": [], "emergency": []},
            },
            "okx": {"code": "0", "data": said, "msg": ""},
        }[exchange]
    )  # fmt: skip


WELL = {"binance": 0, "bybit": [bybit_entry("completed")], "coinbase": "none",
        "kraken": "online", "okx": []}  # fmt: skip
CLOSED: dict[str, Any] = {"binance": 1, "bybit": [bybit_entry("ongoing")], "kraken": "maintenance",
                          "okx": [okx_entry("ongoing")]}  # fmt: skip

NO_ANSWER = {
    "binance": js({"code": -1000, "msg": "An unknown error occurred"}),
    "bybit": js({"retCode": 10016, "retMsg": "Internal server error", "result": {}}),
    "coinbase": js({"error": "unknown", "error_details": "", "message": "internal"}),
    "kraken": js({"error": ["EService:Unavailable"]}),
    "okx": js({"code": "50001", "msg": "Service temporarily unavailable", "data": []}),
}
"""Status 200, and an error in the body."""


class FakeExchange:
    """All is well at first; a test puts other replies at paths."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ahead_ns = 0
        """How far the exchange's clock is ahead of this host's."""
        self.asked: Counter[str] = Counter()
        self.replies: dict[str, Reply | Callable[[], Reply]] = {
            "/api/v3/ping": Reply(headers={"X-MBX-USED-WEIGHT-1M": "17"}),
            TIME[name]: lambda: clock(name, time.time_ns() + self.ahead_ns),
            STATUS[name]: announcement(name, WELL[name]),
        }
        self._ends = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End it, and what hangs."""
        self._ends.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked[self.path] += 1
                found = fake.replies.get(self.path, Reply(b"", 404))
                reply = found() if callable(found) else found
                if reply.hangs:
                    fake._ends.wait(60)
                    return
                self.send_response(reply.status)
                for name, text in reply.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                try:
                    self.wfile.write(reply.body)
                except OSError:  # who asked has read enough
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        return Handler
