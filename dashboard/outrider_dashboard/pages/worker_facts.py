"""What one worker's page says in words: how it is, what that touches, its facts. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider import durations
from outrider_dashboard import numbers, sentences, timing

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.store.reading.types import Gauges, Worker, WorkerDetail

_RESTARTS_WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class Ending:
    """The first section: its name, and the sentence, of which ``fact`` is set bold."""

    title: str
    when: str
    fact: str
    support: str


@dataclass(frozen=True)
class Check:
    """One answer to what anybody asks next: good, bad or not known."""

    tone: str
    text: str


def ending(detail: WorkerDetail, clock: timing.Clock) -> Ending:
    """Say how a worker is, or how it ended."""
    worker = detail.worker
    gauges = worker.gauges
    reason = f"{worker.reason[0].upper()}{worker.reason[1:]}." if worker.reason else ""
    since = clock.sentence(up_since(worker))
    if worker.state == "dead":
        ended = ended_at(worker)
        how = how_it_ended(gauges)
        return Ending(
            "How it ended",
            f"{clock.age(ended)} ago",
            f"{how} at {clock.row(ended)} {clock.zone_name}.",
            _memory(gauges) or ("" if reason == f"{how}." else reason),
        )
    if worker.state == "silent":
        return Ending(
            "How it is",
            f"for {clock.age(worker.since)}",
            f"Nothing is known of it since {since}.",
            reason or "Its agent sends no heartbeat, so it may be working or not.",
        )
    facts = {
        "up": "Up, and its work advances." if gauges.progress_at else "Up.",
        "degraded": "Alive, but it suffers.",
        "lagging": f"Alive, but {sentences.behind(gauges.backlog_bytes)}.",
        "retired": "It ended as it should.",
    }
    fact = facts.get(worker.state, "How it is, is not known.")
    return Ending("How it is", f"since {since}", fact, reason)


def ended_at(worker: Worker) -> datetime:
    """Return when the last life of a dead worker ended."""
    ended, started = worker.gauges.ended_at, worker.gauges.started_at
    # What the heartbeat tells may be of the life before: then the state's own time is the truer.
    if ended is None or (started is not None and ended < started):
        return worker.since
    return ended


def up_since(worker: Worker) -> datetime:
    """Return since when a worker is as it is; a restart too quick to be seen begins anew."""
    started = worker.gauges.started_at
    if worker.state == "up" and started is not None and started > worker.since:
        return started
    return worker.since


def how_it_ended(gauges: Gauges) -> str:
    """Name the end of a process: signal, exit code, or died."""
    code = gauges.end_code
    if gauges.end == "signal" and code is not None:
        return f"Killed by {signal_name(code)}"
    if gauges.end == "exit_code" and code is not None:
        return f"Exited with code {code}"
    if gauges.end == "out_of_memory":
        return "Killed by the kernel, out of memory,"
    if gauges.end == "clean":
        return "Ended clean"
    return "Died"


def signal_name(number: int) -> str:
    """Name a signal: ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _memory(gauges: Gauges) -> str:
    if gauges.rss_bytes is None or not gauges.rss_limit_bytes:
        return ""
    used = numbers.memory_size(gauges.rss_bytes)
    return f"It used {used} of {numbers.memory_size(gauges.rss_limit_bytes)} allowed."


def checks(detail: WorkerDetail, clock: timing.Clock) -> list[Check]:
    """Answer: is anything lost, does it come back, was somebody told."""
    return [_loss(detail), *_come_back(detail, clock), _told(detail, clock)]


def _loss(detail: WorkerDetail) -> Check:
    worker = detail.worker
    if detail.gaps:
        gap = detail.gaps[0]
        return Check(
            "bad",
            f"Something it wrote is lost: gap #{gap.id}, {sentences.gap_size(gap)}, "
            f"{sentences.gap_reason(gap)}.",
        )
    behind = worker.gauges.backlog_bytes
    committed = sum((s.committed or s.start_offset) - s.start_offset for s in detail.streams)
    if worker.state == "silent" or behind is None:
        return Check("blind", "Whether it wrote more than is stored is not known.")
    written = committed + behind
    share = f"{numbers.exact(committed)} of {numbers.exact(written)} bytes are committed."
    if behind:
        return Check("warn", f"Not all it wrote is here yet: {share}")
    return Check("ok", f"Nothing it wrote is lost: {share}")


def _come_back(detail: WorkerDetail, clock: timing.Clock) -> list[Check]:
    number = restarts(detail, clock)
    if detail.worker.state != "dead":
        if not number:
            return []
        return [Check("warn", f"It came back {numbers.plural(number, 'time')} in 24 h.")]
    if number:
        return [Check("ok", f"It came back {numbers.plural(number, 'time')} in 24 h before.")]
    return [Check("bad", "It has not come back in the last 24 h.")]


def restarts(detail: WorkerDetail, clock: timing.Clock) -> int:
    """Count how often it came back in the last 24 hours."""
    start = clock.now - _RESTARTS_WINDOW
    return sum(
        change.to_state == "up" and change.from_state in {"dead", "retired"}
        for change in detail.history
        if change.at >= start
    )


def _told(detail: WorkerDetail, clock: timing.Clock) -> Check:
    firing = [a for a in detail.alerts if a.fired_at is not None]
    if firing:
        newest = max(firing, key=lambda a: a.fired_at or a.started_at)
        # Of a dead worker the question is whether somebody was told; of any other, what is wrong.
        is_wrong = newest.state == "firing" and detail.worker.state != "dead"
        return Check(
            ("bad" if newest.priority == "critical" else "warn") if is_wrong else "ok",
            f"Alert {newest.rule} {'fires since' if is_wrong else 'fired at'} "
            f"{clock.plain(newest.fired_at or newest.started_at)}.",
        )
    if detail.worker.state in {"up", "retired"}:
        return Check("ok", "No alert about it is open.")
    return Check("bad", "No alert about it has fired.")


def facts(detail: WorkerDetail, clock: timing.Clock) -> list[tuple[str, str]]:
    """Return labels and texts of what is known about the process."""
    worker, agent = detail.worker, detail.agent
    gauges = worker.gauges
    version = f", agent {agent.software_version}" if agent and agent.software_version else ""
    out = [
        ("Host", f"{worker.host}{version}{' ' + agent.state if agent else ''}"),
        ("Process", _process(worker, clock)),
        ("Service", worker.service),
        ("Came back in 24 h", numbers.plural(restarts(detail, clock), "time")),
        ("Last line", f"{clock.age(gauges.last_line_at)} ago" if gauges.last_line_at else "none"),
        ("Last progress", _progress(gauges, clock)),
        ("Last heartbeat", f"{clock.age(worker.seen_at)} ago" if worker.seen_at else "never"),
    ]
    if gauges.dropped_records:
        out.append(("Found no room", numbers.plural(gauges.dropped_records, "record")))
    return out


def _process(worker: Worker, clock: timing.Clock) -> str:
    gauges = worker.gauges
    if gauges.pid is None:
        return "not known"
    if gauges.started_at is None:
        return str(gauges.pid)
    if worker.state not in {"dead", "retired"}:
        return f"{gauges.pid}, for {clock.age(gauges.started_at)}"
    ran = ended_at(worker) - gauges.started_at
    # The process that the heartbeat names began after the end that is known.
    if ran < timedelta(0):
        return str(gauges.pid)
    return f"{gauges.pid}, ran {durations.said(ran.total_seconds())}"


def _progress(gauges: Gauges, clock: timing.Clock) -> str:
    if gauges.progress_done is None:
        return "it tells none"
    done = numbers.exact(gauges.progress_done)
    of = f" of {numbers.exact(gauges.progress_total)}" if gauges.progress_total else ""
    at = f", {clock.age(gauges.progress_at)} ago" if gauges.progress_at else ""
    note = f" {gauges.progress_note}" if gauges.progress_note else ""
    within_ms = gauges.progress_within_ms
    again = f", again within {durations.said(within_ms / 1_000)}" if within_ms else ""
    return f"{done}{of}{note}{at}{again}"
