"""What scrapers read of a collector: names, units, and nothing that is private."""

from __future__ import annotations

from outrider.exposition import exposition
from outrider_collector.ingest.figures import Figures
from outrider_collector.monitoring.metrics import process_families, store_families
from outrider_collector.store.reading.tally import Tally


def test_the_figures_of_a_process() -> None:
    """Counters, the summary of commits in seconds, and states as labels with 1."""
    figures = Figures()
    figures.committed(duration_ms=20.0, batches=3, records=700)
    figures.failed("no space left on device")
    status = {
        **figures.counts(),
        "version": "0.1.0",
        "held_bytes": 4096,
        "rule_set": None,
        "disk_used_bytes": 7_000,
        "disk_holding": True,
        "disk_said": "96 % of it: secret words",
        "evaluator": {"state": "evaluating", "error": ""},
        "channels": {"ops": {"state": "broken", "error": "token 123:secret was refused"}},
    }

    lines = exposition(process_families(status, ready=True)).decode().splitlines()

    for line in (
        'outrider_collector_info{version="0.1.0"} 1',
        "outrider_collector_ready 1",
        "outrider_collector_records_total 700",
        "outrider_collector_commit_failures_total 1",
        "outrider_collector_held_bytes 4096",
        "outrider_collector_disk_used_bytes 7000",
        "outrider_collector_disk_holding 1",
        'outrider_collector_commit_duration_seconds{quantile="0.99"} 0.02',
        "outrider_collector_commit_duration_seconds_sum 0.02",
        "outrider_collector_commit_duration_seconds_count 1",
        'outrider_collector_evaluator_state{state="evaluating"} 1',
        'outrider_collector_evaluator_state{state="down"} 0',
        'outrider_collector_channel_state{channel="ops",state="broken"} 1',
    ):
        assert line in lines
    text = "\n".join(lines)
    # What is not known is no 0; texts of errors are nobody's figure.
    assert "rule_set_version" not in text
    assert "disk_budget_bytes" not in text
    assert "secret" not in text
    assert "no space" not in text


def test_the_figures_of_the_store() -> None:
    """Each count with what it is counted by."""
    tally = Tally(
        8_000_000, 42, 40, 0.25,
        [("worker", "up", 60)], [("firing", "critical", 2)],
        [("ops", "sent", 7)], [("truncated", 1, 37)],
    )  # fmt: skip

    lines = exposition(store_families(tally)).decode().splitlines()

    for line in (
        "outrider_store_evaluator_lag_seconds 0.25",
        'outrider_store_components{kind="worker",state="up"} 60',
        'outrider_store_alerts_open{state="firing",priority="critical"} 2',
        'outrider_store_notifications_last_day{channel="ops",fate="sent"} 7',
        'outrider_store_gap_records{reason="truncated"} 37',
    ):
        assert line in lines
