"""How full the store is, among the facts of the overview."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outrider_collector.store.reading.types import Collector, StoreHealth
from outrider_dashboard.pages.overview import store_facts
from outrider_dashboard.timing import Clock

NOW = datetime(2026, 7, 14, 14, 3, 24, tzinfo=UTC)


def test_the_overview_says_how_full_the_store_is() -> None:
    """In the words of the collector that sees least room; without one there is no such fact."""
    health = StoreHealth(NOW, "16", 10**9, 10**9, 30, NOW, NOW, 600, 10, 20.0, 0, 0, 7)

    def facts(*collectors: Collector) -> dict[str, str]:
        return dict(store_facts(health, collectors, Clock(NOW)))

    def measured(said: str, level: str) -> Collector:
        return Collector(said, NOW, NOW, None, True, {"disk_said": said, "disk_level": level})

    assert "Disk" not in facts(Collector("new", NOW, NOW, None, True, {}))
    found = facts(measured("1.0 GB", "well"), measured("9 of 10 GB (90 %)", "shed"))
    assert found["Disk"] == "9 of 10 GB (90 %)"
    assert list(found)[3] == "Partitions"


def test_the_overview_says_that_no_partition_takes_what_arrives() -> None:
    """Also where there are partitions, all of hours that are over."""
    health = StoreHealth(NOW, "16", 10**9, 10**9, 30, NOW, NOW, 600, 10, 20.0, 0, 0, 7)

    def partitions(newest_to: datetime | None) -> str:
        facts = store_facts(replace(health, newest_partition_to=newest_to), (), Clock(NOW))
        return dict(facts)["Partitions"]

    assert partitions(NOW + timedelta(hours=5)) == "30, 5 h ahead"
    assert partitions(NOW) == "none: ingest stops"
    assert partitions(None) == "none: ingest stops"
