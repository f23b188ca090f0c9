"""Seeded JSON lines of about 240 bytes, as services of a trading desk would log them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 1000
ERROR_SHARE = 0.01
_MESSAGES = (
    "order filled after {ms} ms on venue {venue}, remaining quantity {q}",
    "quote refreshed for book {venue}, spread {q} bp, latency {ms} ms",
    "position reconciled with ledger page {q}, difference 0, took {ms} ms",
    "heartbeat of session {venue}-{q} answered after {ms} ms",
    "snapshot of depth {q} applied, sequence {seq}, checksum ok",
)


def json_lines(count: int, start: datetime, *, service: str, seed: int = 7) -> Iterator[bytes]:
    """``count`` lines, one a 0.1 ms of event time from ``start``; 1 % are errors of 1,000 keys."""
    rng = random.Random(seed)
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for number in range(count):
        ts = start + timedelta(microseconds=100 * number)
        error = rng.random() < ERROR_SHARE
        message = rng.choice(_MESSAGES).format(
            ms=rng.randint(1, 900),
            venue=rng.choice(("kraken", "okx", "bybit", "binance")),
            q=rng.randint(1, 99999),
            seq=rng.randint(10**8, 10**9),
        )
        record = {
            "ts": ts.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "severity": 17 if error else 9,
            "message": message,
            "logger": f"{service}.engine.{number % 7}",
            "event": "order.rejected" if error else "order.filled",
            "attributes": {
                "account": f"acc-{rng.randrange(KEYS):04d}",
                "order_id": 10**9 + number,
                "client": f"{rng.getrandbits(64):016x}",
                "n": number,
            },
        }
        yield encode(record).encode() + b"\n"
