"""Asking a block's filter for tokens, in SQL.

Only the byte of each bit is fetched. A fresh block has no filter, so it may hold anything. The
terms are literals made of checksums, never of a user's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from outrider_collector.store.compaction import bloom
from outrider_collector.store.reading.logic import TRUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

_BIT: Final = sql.SQL(
    "get_byte(substr(b.bloom, 1 + ({byte} & (octet_length(b.bloom) - 1)), 1), 0) & {bit} <> 0"
)


def has_all(tokens: Sequence[bytes]) -> Composable:
    """Return the condition that block ``b`` can have all tokens, tested in their order."""
    if not tokens:
        return TRUE
    bits = (
        _BIT.format(byte=sql.Literal(probe.byte), bit=sql.Literal(probe.bit))
        for token in tokens
        for probe in bloom.probes(token)
    )
    return sql.SQL("(b.bloom is null or ({}))").format(sql.SQL(" and ").join(bits))
