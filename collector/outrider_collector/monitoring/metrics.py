"""A collector's figures under the names that scrapers see. Pure.

``outrider_collector_*`` is this process, as its status row has it. ``outrider_store_*`` is counted
over the whole store and the same from every collector: take one (``max``), never their sum. No
figure has a text of a log line, a name of a worker or a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outrider.exposition import Family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider_collector.store.reading.tally import Tally

_COUNTERS: Final = (
    ("records", "records", "Records that were committed."),
    ("batches", "batches", "Batches that were committed."),
    ("commits", "commits", "Transactions that stored batches."),
    ("failures", "commit_failures", "Commits that failed and were tried again."),
    ("rewinds", "rewinds", "Batches that did not continue their stream."),
    ("deferred", "deferred_batches", "Batches that waited because another collector held a row."),
    ("quarantined", "quarantined_records", "Records that Postgres refused and that are kept."),
    ("uncounted", "uncounted_records", "Records that no rule could be held against."),
    ("sessions_ended_by_mistake", "mistaken_sessions", "Sessions ended by a mistake of Outrider."),
    ("streams_ended_invalid", "invalid_streams", "Streams of agents ended for a wrong message."),
    ("workers_left_out", "left_out_heartbeats", "Heartbeats of components beyond the limit."),
    ("health_rows_refused", "refused_health_rows", "Heartbeats and states that Postgres refused."),
)
"""Key of the status row, name between prefix and ``_total``, help."""

_GAUGES: Final = (
    ("sessions", "sessions", "Agents that are connected and send batches."),
    ("heartbeat_streams", "heartbeat_streams", "Agents that are connected and send heartbeats."),
    ("credit_bytes", "credit_bytes", "What agents may send, at most, before it is committed."),
    ("held_bytes", "held_bytes", "What agents have sent and is not committed yet."),
    ("queued_bytes", "queue_bytes", "What waits for the next commit."),
    ("waiting_for_credit", "agents_without_credit", "Agents that wait for their turn to send."),
    ("failing_for_s", "commits_failing_seconds", "For how long every commit has failed; 0: none."),
    ("rule_set", "rule_set_version", "Version of the rules that matches are counted by."),
    ("disk_used_bytes", "disk_used_bytes", "What counts to the budget: of a disk the log too."),
    ("disk_budget_bytes", "disk_budget_bytes", "What they may take; absent without a budget."),
    ("disk_full_in_s", "disk_full_in_seconds", "When they will; absent: not within a year."),
    ("disk_holding", "disk_holding", "1: agents keep all but audit records and errors."),
)

EVALUATOR_STATES: Final = ("evaluating", "waiting", "refused", "failing", "down", "stopped")


def process_families(status: Mapping[str, Any], *, ready: bool) -> list[Family]:
    """Return the figures of this collector; ``status`` is what its row carries."""
    prefix = "outrider_collector"
    info = Family(f"{prefix}_info", "gauge", "Always 1; the label names the running version.")
    found = [
        info.add(1, version=str(status.get("version", ""))),
        Family(f"{prefix}_ready", "gauge", "1: it can do its work; 0: /readyz says why not.").add(
            ready
        ),
    ]
    for key, name, text in _COUNTERS:
        found.append(_known(Family(f"{prefix}_{name}_total", "counter", text), status.get(key)))
    for key, name, text in _GAUGES:
        found.append(_known(Family(f"{prefix}_{name}", "gauge", text), status.get(key)))
    return [*found, _commit_seconds(prefix, status), _evaluator(status), _channels(status)]


def _known(family: Family, value: object) -> Family:
    """Add the value where there is one: what is not known is left out, and is not 0."""
    return family.add(value) if isinstance(value, (int, float)) else family


def _commit_seconds(prefix: str, status: Mapping[str, Any]) -> Family:
    family = Family(
        f"{prefix}_commit_duration_seconds",
        "summary",
        "Time of commits; quantiles of the last 512.",
    )
    if not status.get("commits"):
        return family
    for key, quantile in (("commit_ms_p50", "0.5"), ("commit_ms_p99", "0.99")):
        family.add(status[key] / 1_000, quantile=quantile)
    family.add(status["commit_ms_total"] / 1_000, "_sum")
    return family.add(status["commits"], "_count")


def _evaluator(status: Mapping[str, Any]) -> Family:
    family = Family(
        "outrider_collector_evaluator_state",
        "gauge",
        "1 for the state it is in: evaluating, waiting (another collector does), or out of order.",
    )
    state = status.get("evaluator", {}).get("state")
    for name in EVALUATOR_STATES:
        family.add(name == state, state=name)
    return family


def _channels(status: Mapping[str, Any]) -> Family:
    family = Family(
        "outrider_collector_channel_state",
        "gauge",
        "1 for how a channel did last at this collector: ok, failing, broken, unused.",
    )
    for name, channel in sorted(status.get("channels", {}).items()):
        family.add(1, channel=name, state=str(channel.get("state")))
    return family


def store_families(tally: Tally) -> list[Family]:
    """Return the figures of the store."""
    prefix = "outrider_store"

    def one(name: str, text: str, value: float) -> Family:
        return Family(f"{prefix}_{name}", "gauge", text).add(value)

    components = Family(f"{prefix}_components", "gauge", "Components by kind and state.")
    for kind, state, count in tally.components:
        components.add(count, kind=kind, state=state)
    alerts = Family(f"{prefix}_alerts_open", "gauge", "Open alerts by state and priority.")
    for state, priority, count in tally.alerts:
        alerts.add(count, state=state, priority=priority)
    notices = Family(
        f"{prefix}_notifications_last_day", "gauge", "Messages of the last 24 hours by their fate."
    )
    for channel, fate, count in tally.notices:
        notices.add(count, channel=channel, fate=fate)
    gaps = Family(f"{prefix}_gaps", "gauge", "Gaps that are kept, by what made them.")
    lost = Family(f"{prefix}_gap_records", "gauge", "Records that are missing for certain in gaps.")
    for reason, count, records in tally.gaps:
        gaps.add(count, reason=reason)
        lost.add(records, reason=reason)
    return [
        one("database_bytes", "Size of the database.", tally.database_bytes),
        one("feed_number", "The newest transaction that others must notice.", tally.feed_number),
        one(
            "evaluated_feed_number", "Up to which rules are evaluated.", tally.evaluated_feed_number
        ),
        one(
            "evaluator_lag_seconds",
            "Age of the oldest transaction that is not evaluated; up to 15 s is as it should be.",
            tally.evaluator_lag_s,
        ),
        components,
        alerts,
        notices,
        gaps,
        lost,
    ]
