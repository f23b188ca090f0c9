"""Which files are sifted now: those of sources that have more waiting than they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider_agent.shedding import ALL, Sieve, Waiting, sieves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_agent.configuration import SourceConfig
    from outrider_agent.followed import Followed
    from outrider_agent.reports import Reports


def relieve(files: Iterable[Followed], reports: Reports) -> None:
    """Have sources drop the oldest of what is beyond their limits, and say so."""
    bounded: dict[SourceConfig, list[Followed]] = {}
    for followed in files:
        source = followed.found.source
        if source is not None and source.backlog_bytes and source.kept_from():
            bounded.setdefault(source, []).append(followed)
    for source, of_source in bounded.items():
        tails = [followed.tail for followed in of_source]
        waiting = [Waiting(tail.mtime_ns, tail.position, tail.size) for tail in tails]
        offsets = sieves(waiting, source.backlog_bytes)
        for tail, offset in zip(tails, offsets, strict=True):
            if offset:
                to = max(offset, tail.sifter.sieve.to)
                tail.sifter.sieve = Sieve(to, source.kept_from())
        if any(offsets):
            _say(source, reports)


def _say(source: SourceConfig, reports: Reports) -> None:
    kept = source.kept_from()
    which = "" if kept == ALL else f" less severe than {severities.name(kept)}"
    reports.say(
        f"shedding {source.service} {source.paths[0]}",
        f"more than {source.backlog_bytes} bytes wait in the files of {source.service}: "
        f"{source.paths[0]}: the oldest records{which} are dropped, and counted as gaps: see what "
        "floods them, or raise `backlog_bytes`",
        event="pipeline.dropped",
        severity=severities.WARN,
        service=source.service,
    )
