"""What was sampled of components, as pages read it from records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outrider_collector.store.reading import components
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def test_a_sample_names_who_looked_and_not_who_read_its_log(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A collector's own looks come through an agent, whose host may have another name."""
    stream = Source(7, "outrider", "collector", "hub.internal")
    said = [
        {"component_kind": "exchange", "component": component, "n": 6, "failed": 1, "p95_ms": 20}
        for component in ("Kraken@hub", "of nobody")
    ]
    await commit(owner, [
        Record(stream, offset, BASE, event="health.sampled", attributes=json.dumps(attributes))
        for offset, attributes in enumerate(said)
    ])  # fmt: skip

    (found,) = await components.samples(reader, "exchange", BASE - HOUR, BASE + HOUR)
    assert (found.name, found.host, found.n, found.p95_ms) == ("Kraken", "hub", 6, 20.0)
