"""What ``outrider status`` and ``outrider workers`` say, as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider_collector.store.reading import completeness
from outrider_collector.terminal.render import (
    BOLD,
    DIM,
    RED,
    STATE_COLOURS,
    VIOLET,
    YELLOW,
    age,
    coloured,
    table,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import (
        Alert,
        Cause,
        Collector,
        Overview,
        StoreHealth,
        Worker,
    )

_NUMBERS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")

_CAUSE_COLOURS: Final = {"dead": RED, "alert": RED, "agent_silent": VIOLET, "silent": VIOLET,
                         "gap": VIOLET, "degraded": YELLOW, "lagging": YELLOW}  # fmt: skip


def status_lines(
    view: Overview, collectors: Sequence[Collector], store: StoreHealth, *, colours: bool
) -> list[str]:
    """Return the health of everything, worst first."""
    sentence = completeness.text(completeness.sentence(view.completeness, view.now))
    lines = [coloured(headline(view), BOLD, colours=colours), ""]
    lines += [_cause(cause, view.now, colours=colours) for cause in view.causes]
    if view.causes:
        lines.append("")
    lines += [_alert(alert, view.now, colours=colours) for alert in view.alerts]
    lines += ["Alerts: none open."] if not view.alerts else []
    lines += [visible(sentence), ""]
    lines += [_collector(one, view.now, colours=colours) for one in collectors]
    lines += ["Collectors: none has reported."] if not collectors else []
    lines.append(
        f"Store: {completeness.size(store.database_bytes)}, "
        f"{store.lines_last_minute:,} lines in the last minute, "
        f"{store.gaps_today:,} gaps today ({store.lines_lost_today:,} lines)."
    )
    return lines


def headline(view: Overview) -> str:
    """Return the fact that decides whether to read on."""
    count = len(view.causes)
    up = view.states.get("up", 0)
    if count:
        number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
        thing = "thing is" if count == 1 else "things are"
        return (
            f"{number} {thing} wrong now; {view.affected} of {len(view.workers)} workers affected."
        )
    if not view.workers:
        return "Nothing is wrong. No worker has reported yet."
    return f"Nothing is wrong. {up} {'worker is' if up == 1 else 'workers are'} up."


def _cause(cause: Cause, now: datetime, *, colours: bool) -> str:
    since = age((now - cause.since).total_seconds())
    what = cause.kind.replace("agent_silent", "silent host").replace("_", " ")
    explained = f" (explains {len(cause.explains)} workers)" if cause.explains else ""
    text = f"{visible(cause.subject)}: {visible(cause.reason)}{explained}, for {since}"
    return f"  {coloured(f'{what:<12}', _CAUSE_COLOURS[cause.kind], colours=colours)} {text}"


def _alert(alert: Alert, now: datetime, *, colours: bool) -> str:
    since = age((now - (alert.fired_at or alert.started_at)).total_seconds())
    state = coloured(f"{alert.state:<11}", RED if alert.state == "firing" else "", colours=colours)
    told = ", acknowledged" if alert.acknowledged_at else ""
    summary = visible(alert.summary)
    return f"  {state} #{alert.id} {alert.priority} {alert.rule}: {summary}, for {since}{told}"


def _collector(collector: Collector, now: datetime, *, colours: bool) -> str:
    name = visible(collector.name)
    if collector.alive:
        rate = collector.status.get("records_per_s", 0)
        return f"Collector {name}: alive, {rate:,} records/s."
    gone = "stopped" if collector.stopped_at else "silent"
    since = age((now - collector.seen_at).total_seconds())
    return coloured(f"Collector {name}: {gone} for {since}.", VIOLET, colours=colours)


def worker_lines(workers: Sequence[Worker], now: datetime, *, colours: bool) -> list[str]:
    """Return one line a worker, worst first."""
    if not workers:
        return ["No worker has reported yet."]
    head = ["STATE", "SERVICE", "WORKER", "HOST", "FOR", "MEMORY", "BEHIND", "REASON"]
    rows = [_worker(worker, now) for worker in workers]
    lines = table(head, rows)
    return [
        coloured(lines[0], DIM, colours=colours),
        *(
            coloured(line, STATE_COLOURS.get(worker.state, ""), colours=colours)
            for line, worker in zip(lines[1:], workers, strict=True)
        ),
    ]


def _worker(worker: Worker, now: datetime) -> list[str]:
    gauges = worker.gauges
    memory = "-" if gauges.rss_bytes is None else f"{gauges.rss_bytes / 2**20:.0f} MiB"
    behind = completeness.size(gauges.backlog_bytes) if gauges.backlog_bytes else "-"
    since = age((now - worker.since).total_seconds())
    names = [visible(part) for part in worker.name]
    return [worker.state, *names, since, memory, behind, visible(worker.reason)]
