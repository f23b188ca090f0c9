"""What ``outrider status`` and ``outrider workers`` say, as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider import durations
from outrider.probes.result import WELL
from outrider.sizes import said as size
from outrider.visible import visible
from outrider_collector.store.reading import completeness, room
from outrider_collector.store.reading.types import STATES
from outrider_collector.store.reading.verdicts import WORST_FIRST, verdicts
from outrider_collector.terminal.render import (
    BOLD,
    DIM,
    RED,
    STATE_COLOURS,
    VIOLET,
    YELLOW,
    coloured,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import (
        Agent,
        Alert,
        Cause,
        Collector,
        Component,
        Overview,
        StoreHealth,
        Worker,
    )
    from outrider_collector.store.reading.verdicts import Verdict

_NUMBERS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")

_SHOWN: Final = 5

_KINDS: Final = {
    "exchange": "Exchanges", "database": "Databases", "probe": "Probes", "pipeline": "Pipeline",
}  # fmt: skip
_UP_FIRST: Final = ("up", *(state for state in WORST_FIRST if state != "up"))

_CAUSE_COLOURS: Final = {
    "collector_silent": VIOLET, "not_committing": RED, "not_evaluating": RED,
    "dead": RED, "down": RED, "alert": RED,
    "agent_silent": VIOLET, "silent": VIOLET, "expired": VIOLET, "gap": VIOLET,
    "degraded": YELLOW, "lagging": YELLOW,
}  # fmt: skip
_CAUSE_WORDS: Final = {
    "collector_silent": "no collector", "not_committing": "no commits",
    "not_evaluating": "no alerts",
    "agent_silent": "silent host", "expired": "no result",
}  # fmt: skip


def status_lines(
    view: Overview,
    agents: Sequence[Agent],
    collectors: Sequence[Collector],
    store: StoreHealth,
    looked_at: Sequence[Component] = (),
    *,
    colours: bool,
) -> list[str]:
    """Return the health of everything, worst first. Each open alert is there once, by its name."""
    named, others = _alerts_by_cause(view)
    lines = [coloured(line, BOLD, colours=colours) for line in _standing(view, collectors)]
    lines.append(coloured(headline(view), "" if lines else BOLD, colours=colours))
    if view.causes:
        lines.append("")
        lines += [_cause(one, named[i], view, colours=colours) for i, one in enumerate(view.causes)]
    if others:
        lines += ["", "Other open alerts:"]
        lines += [f"  {_alert(alert, view.now, colours=colours)}" for alert in others]
    lines += ["", f"Alerts: {_alert_counts(view.alerts)}.", f"Workers: {_states(view.states)}."]
    lines.append(f"Agents: {_agents(agents)}.")
    lines += _looked_at(verdicts(looked_at))
    lines += [_collector(one, view.now, colours=colours) for one in collectors]
    lines += ["Collectors: none has reported."] if not collectors else []
    lines.append(f"Backlog: {_backlog(view.workers)}.")
    lines.append(
        f"Store: {size(store.database_bytes)}, "
        f"{store.lines_last_minute:,} lines in the last minute, "
        f"{store.gaps_today:,} gaps today ({store.lines_lost_today:,} lines)."
    )
    if (known := room.room(collectors)) is not None:
        colour = {"hold": RED, "shed": YELLOW}.get(known.level, "")
        lines.append(coloured(f"Disk: {visible(known.said)}.", colour, colours=colours))
    lines.append(visible(completeness.text(completeness.sentence(view.completeness, view.now))))
    return lines


def _standing(view: Overview, collectors: Sequence[Collector]) -> list[str]:
    """Return the lines that come before all others where nothing is committed."""
    if not collectors:
        start = "start one with 'outrider up' or 'outrider collector'"
        return [f"Unknown: no collector has reported yet: {start}."]
    lines = []
    for cause in view.causes:
        since = durations.said((view.now - cause.since).total_seconds())
        if cause.kind == "collector_silent":
            reason = visible(cause.reason)
            lines.append(f"Unknown: no collector reports, for {since}: {reason}. As of then:")
        elif cause.kind == "not_committing":
            lines.append(f"Commits fail for {since}: {visible(cause.reason)}.")
        elif cause.kind == "not_evaluating":
            lines.append(f"Alerts are not evaluated for {since}: {visible(cause.reason)}.")
    return lines


def _alerts_by_cause(view: Overview) -> tuple[list[list[Alert]], list[Alert]]:
    """Return the open alerts that each cause stands for, and those that none does."""
    named: list[list[Alert]] = [[] for _ in view.causes]
    others: list[Alert] = []
    for alert in view.alerts:
        place = next((i for i, one in enumerate(view.causes) if _tells(one, alert)), None)
        (others if place is None else named[place]).append(alert)
    return named, others


def _tells(cause: Cause, alert: Alert) -> bool:
    if alert.labels.get("component") in cause.components:
        return True
    if cause.alert is not None or alert.kind != "liveness":
        return cause.alert == alert.id
    worker = alert.labels.get("worker")
    if worker is None:
        return cause.kind == "agent_silent" and alert.labels.get("host") == cause.subject
    names = [*cause.explains, *([cause.worker] if cause.worker else [])]
    return any(
        name.worker == worker and alert.labels.get("service", name.service) == name.service
        for name in names
    )


def _alert_counts(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "none open"
    order = ("firing", "recovering", "pending")
    counts = {state: sum(alert.state == state for alert in alerts) for state in order}
    text = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    return f"{text} ('outrider alerts explain ID' says who was told)"


def _states(states: Mapping[str, int]) -> str:
    # What is up is named first: it says how many there are.
    order = ("up", *(state for state in STATES if state != "up"))
    known = [f"{states[state]:,} {state}" for state in order if states.get(state)]
    return ", ".join(known) if known else "none has reported"


def _agents(agents: Sequence[Agent]) -> str:
    present = [agent for agent in agents if agent.revoked_at is None]
    if not present:
        return "none has reported"
    counts: dict[str, int] = {}
    for agent in present:
        counts[agent.state] = counts.get(agent.state, 0) + 1
    ill = [
        f"{visible(agent.host)} {agent.state}"
        for agent in present
        if agent.state not in {"up", "retired"}
    ]
    more = f" and {len(ill) - _SHOWN} more" if len(ill) > _SHOWN else ""
    named = f" ({', '.join(ill[:_SHOWN])}{more})" if ill else ""
    return f"{_states(counts)}{named}"


def _looked_at(found: Sequence[Verdict]) -> list[str]:
    """Return a line for each kind of what probes look at."""
    lines = []
    for kind, title in _KINDS.items():
        same = [one for one in found if one.kind == kind]
        if not same:
            continue
        counts = {state: sum(one.state == state for one in same) for state in _UP_FIRST}
        text = ", ".join(f"{n:,} {state}" for state, n in counts.items() if n)
        ill = [one for one in sorted(same, key=lambda one: one.rank) if one.state not in WELL]
        named = ", ".join(f"{visible(one.name)} {one.state}" for one in ill[:_SHOWN])
        more = f" and {len(ill) - _SHOWN} more" if len(ill) > _SHOWN else ""
        lines.append(f"{title}: {text}{f' ({named}{more})' if ill else ''}.")
    return lines


def _backlog(workers: Sequence[Worker]) -> str:
    behind = [(worker.gauges.backlog_bytes or 0, worker) for worker in workers]
    waiting = [pair for pair in behind if pair[0]]
    if not waiting:
        return "nothing waits at the agents"
    total = size(sum(count for count, _ in waiting))
    most, worker = max(waiting, key=lambda pair: pair[0])
    whose = f"{worker.service}/{worker.worker}@{worker.host}"
    return f"{total} wait at the agents, most of {visible(whose)} ({size(most)})"


def headline(view: Overview) -> str:
    """Return the fact that decides whether to read on."""
    count = len(view.causes)
    up = view.states.get("up", 0)
    quiet = f", {view.quiet} quiet" if view.quiet else ""
    if count:
        number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
        thing = "thing is" if count == 1 else "things are"
        if not view.affected:
            return f"{number} {thing} wrong now; no worker is affected, {up} up{quiet}."
        return (
            f"{number} {thing} wrong now; {view.affected} of {len(view.workers)} workers affected."
        )
    if not view.workers:
        return "Nothing is wrong. No worker has reported yet."
    return f"Nothing is wrong. {up} {'worker is' if up == 1 else 'workers are'} up{quiet}."


def _cause(cause: Cause, alerts: Sequence[Alert], view: Overview, *, colours: bool) -> str:
    kind = _CAUSE_WORDS.get(cause.kind, cause.kind)
    kind = coloured(f"{kind:<12}", _CAUSE_COLOURS[cause.kind], colours=colours)
    if cause.alert is not None and alerts:
        return f"  {kind} {_alert(alerts[0], view.now, colours=colours)}"
    since = durations.said((view.now - cause.since).total_seconds())
    subject = (
        "/".join(cause.worker[:2]) + f"@{cause.worker.host}" if cause.worker else cause.subject
    )
    explained = f" (explains {len(cause.explains)} workers)" if cause.explains else ""
    names = f" [{', '.join(f'A-{alert.id} {alert.state}' for alert in alerts)}]" if alerts else ""
    return f"  {kind} {visible(subject)}: {visible(cause.reason)}{explained}, for {since}{names}"


def _alert(alert: Alert, now: datetime, *, colours: bool) -> str:
    since = durations.said((now - (alert.fired_at or alert.started_at)).total_seconds())
    state = coloured(alert.state, RED if alert.state == "firing" else "", colours=colours)
    acked = f", acknowledged by {visible(alert.acknowledged_by)}" if alert.acknowledged_by else ""
    held = f", held by {visible(', '.join(alert.suppressed_by))}" if alert.suppressed_by else ""
    about = f"{alert.priority} {visible(alert.rule)}: {visible(alert.summary)}"
    return f"A-{alert.id} {state} {about}, for {since}{acked}{held}"


def _collector(collector: Collector, now: datetime, *, colours: bool) -> str:
    name = visible(collector.name)
    if collector.alive:
        rate = collector.status.get("records_per_s", 0)
        return f"Collector {name}: alive, {rate:,} records/s."
    gone = "stopped" if collector.stopped_at else "silent"
    since = durations.said((now - collector.seen_at).total_seconds())
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
        *_how_to_retire(workers, colours=colours),
    ]


def _how_to_retire(workers: Sequence[Worker], *, colours: bool) -> list[str]:
    gone = next((one for one in workers if one.state in {"dead", "silent"}), None)
    if gone is None:
        return []
    name = visible(gone.name.component)
    return ["", coloured(f"Gone for good? outrider workers retire {name}", DIM, colours=colours)]


def _worker(worker: Worker, now: datetime) -> list[str]:
    gauges = worker.gauges
    memory = "-" if gauges.rss_bytes is None else f"{gauges.rss_bytes / 2**20:.0f} MiB"
    behind = size(gauges.backlog_bytes) if gauges.backlog_bytes else "-"
    since = durations.said((now - worker.since).total_seconds())
    names = [visible(part) for part in worker.name]
    return [worker.state, *names, since, memory, behind, visible(worker.reason)]
