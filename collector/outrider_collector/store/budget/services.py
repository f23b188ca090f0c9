"""Who fills the store: the bytes of each service of the last day, and who is over its quota.

Sizes are those of the blocks' columns as they are stored, of both levels: no column is opened. A
fresh block is larger than it will be where the server has no lz4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

MOST_SERVICES: Final = 1_000

_COLUMNS: Final = (
    "ts", "observed_at", "received_at", "stream", "stream_offset", "severity", "message", "logger",
    "event", "error_code", "trace_id", "correlation_id", "attributes", "bloom",
)  # fmt: skip
_WRITTEN: Final = sql.SQL("""
    select b.service, sum({size})::bigint, sum(b.n)::bigint
    from blocks b
    where b.received_max > clock_timestamp() - interval '1 day'
    group by b.service order by 2 desc, 1 limit {most}
    """).format(
    size=sql.SQL(" + ").join(
        sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier("b", name))
        for name in _COLUMNS
    ),
    most=sql.Literal(MOST_SERVICES),
)


class Written(NamedTuple):
    """What one service wrote in the last day."""

    service: str
    size_bytes: int
    records: int


class Quota(NamedTuple):
    """How much a service may write a day, in bytes; 0: as much as it wants."""

    default_bytes: int = 0
    by_service: Mapping[str, int] = {}

    def of(self, service: str) -> int:
        """Return the quota of one service."""
        return self.by_service.get(service, self.default_bytes)

    @property
    def is_set(self) -> bool:
        """Whether any service has one."""
        return bool(self.default_bytes or any(self.by_service.values()))


async def read_written(connection: AsyncConnection) -> list[Written]:
    """Return what each service wrote in the last day, most first."""
    cursor = await connection.execute(_WRITTEN)
    return [Written(*row) for row in await cursor.fetchall()]


def over(written: Sequence[Written], quota: Quota) -> list[Written]:
    """Return the services that wrote more than they may, the one most over first. Pure."""
    beyond = [one for one in written if 0 < quota.of(one.service) < one.size_bytes]
    return sorted(beyond, key=lambda one: quota.of(one.service) / one.size_bytes)
