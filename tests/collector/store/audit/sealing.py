"""Audit records that are committed and sealed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outrider.columns import pack_dictionary, pack_text
from outrider_collector.store import leases
from outrider_collector.store.audit import seals
from tests.collector.store.making import LINE_BYTES, Store, commit, make_columns

if TYPE_CHECKING:
    from collections.abc import Sequence


async def write(
    store: Store,
    events: Sequence[str | None],
    attributes: Sequence[dict[str, Any] | bytes | None] | None = None,
    **changes: Any,
) -> None:
    """Commit one record for each event behind what stream 1 has."""
    begin = await store.committed()
    texts = [
        None if each is None else each if isinstance(each, bytes) else json.dumps(each).encode()
        for each in attributes or [{"actor": "anna", "target": f"t{n}"} for n in range(len(events))]
    ]
    lines = [f"line {begin + n}".encode() for n in range(len(events))]
    columns = make_columns(
        lines, begin=begin, event=pack_dictionary(events), attributes_raw=pack_text(texts)
    )
    end = begin + LINE_BYTES * len(events)
    await commit(store.writer(), store.batch(begin, lines, end=end, columns=columns, **changes))


async def seal(store: Store) -> int:
    """Seal what there is; returns how many rows."""
    lease = await leases.take(store.connection, seals.LEASE, "test", 60)
    assert lease is not None
    try:
        return await seals.seal_all(store.connection, lease)
    finally:
        await leases.release(store.connection, lease)


async def two_seals(store: Store) -> None:
    """Five rows in one seal, five in the next."""
    for _ in range(2):
        await write(store, ["config.changed"] * 5)
        assert await seal(store) == 5
