"""Rows of the audit log: acts, and records of workers, some of them hostile."""

from __future__ import annotations

from typing import Final

import psycopg

_INSERT: Final = """
insert into audit_log (ts, class, event, actor, target, reason, before, after, severity, message,
    service, worker, host, stream, stream_offset)
values (now(), 'audit', %s, %s, %s, %s, %s, %s, 9, %s, 'outrider', 'collector', 'h', %s, 0)
"""
ROWS: Final[tuple[tuple[str | int | None, ...], ...]] = (
    ("config.changed", "anna", "rules", None, "1", "2", "anna: config.changed rules", None),
    ("alert.silenced", "bob", "silence 3", "<b>deploy</b>", None, None, "bob: ..", None),
    ("order.filled", None, None, None, None, None, "order 1234 filled at 67,120.50", 1),
    ("config.changed", '=cmd|"x"', "limits\x1b[2J", None, None, '"on"', "m", 1),
)


def audit(url: str) -> None:
    """Write the rows; nobody has sealed them yet."""
    with psycopg.connect(url) as connection:
        for row in ROWS:
            connection.execute(_INSERT, row)
