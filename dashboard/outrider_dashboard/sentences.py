"""What pages say in words: the headline, one sentence a cause, completeness. Pure.

The subject comes first, then what is, since when, and what it touches. Numbers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from outrider import durations, gap_reasons
from outrider_dashboard import numbers, ranges
from outrider_dashboard.numbers import plural, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_collector.store.reading.types import Cause, Gap, Overview, Part, WorkerName

_MOST_NAMED = 3
"""More workers than this are counted, not named."""

_TONES = {
    "collector_silent": ("unknown", "blind"),
    "not_committing": ("failed", "bad"),
    "not_evaluating": ("failed", "bad"),
    "dead": ("dead", "bad"),
    "down": ("down", "bad"),
    "expired": ("expired", "blind"),
    "agent_silent": ("silent", "blind"),
    "silent": ("silent", "blind"),
    "degraded": ("degraded", "warn"),
    "lagging": ("lagging", "warn"),
    "gap": ("gap", "blind"),
    "alert": ("firing", "bad"),
}


_STANDSTILLS = {
    "collector_silent": "does not report",
    "not_committing": "cannot commit",
    "not_evaluating": "cannot evaluate alerts",
}


@dataclass(frozen=True)
class Headline:
    """The page's first sentence and the one under it."""

    title: str
    support: str


def merged(causes: Sequence[Cause]) -> list[Cause]:
    """Join what several workers of one service suffer for the same reason into one cause.

    A cause speaks once and names whom it explains, so that eight troubled workers are four lines.
    """
    groups: dict[tuple[str, str, str], list[Cause]] = {}
    for cause in causes:
        name = cause.worker
        joins = name is not None and cause.gap is None and cause.kind != "alert"
        key = (
            (cause.kind, name.service, cause.reason) if joins and name else ("", "", str(id(cause)))
        )
        groups.setdefault(key, []).append(cause)
    out = []
    for found in groups.values():
        if len(found) == 1:
            out.append(found[0])
            continue
        names = tuple(cause.worker for cause in found if cause.worker is not None)
        first = min(found, key=lambda cause: cause.since)
        subject = f"{len(names)} workers of {names[0].service}"
        out.append(replace(first, subject=subject, worker=None, explains=names, bytes_behind=None))
    return out


def headline(overview: Overview, wrong: int) -> Headline:
    """Say how much is wrong now: ``wrong`` things; where nothing is committed, that alone."""
    if overview.causes and overview.causes[0].kind in _STANDSTILLS:
        return _standing(overview.causes[0], overview)
    total = sum(n for state, n in overview.states.items() if state != "retired")
    up = overview.states.get("up", 0)
    affected, quiet = overview.affected, overview.quiet
    besides = f" {plural(quiet, 'worker')} {'is' if quiet == 1 else 'are'} quiet." if quiet else ""
    if not wrong:
        if not total and overview.states:
            ended = sum(overview.states.values())
            verb = "it ended as it should" if ended == 1 else "all ended as they should"
            return Headline("No worker runs", f"{plural(ended, 'worker')} reported, {verb}.")
        if not total:
            return Headline("No worker has reported yet", "The store is up and ready.")
        well = f"{'is' if up == 1 else 'are'} up and {'its' if up == 1 else 'their'} work advances"
        support = f"{plural(up, 'worker')} {well}.{besides}" if up or not quiet else besides.strip()
        return Headline("Nothing is wrong", support)
    title = f"{word(wrong).capitalize()} {'thing is' if wrong == 1 else 'things are'} wrong now"
    if not affected:
        well = (
            f"{numbers.count(up)} are up.{besides}" if quiet else f"All {numbers.count(up)} are up."
        )
        return Headline(title, f"No worker is affected. {well}")
    verb = "is" if affected == 1 else "are"
    support = f"{numbers.count(affected)} of {plural(total, 'worker')} {verb} affected."
    if up:
        rest = "is up and its work advances" if up == 1 else "are up and their work advances"
        support += f" The other {numbers.count(up) + ' ' if up > 1 else ''}{rest}."
    return Headline(title, support + besides)


def _standing(cause: Cause, overview: Overview) -> Headline:
    """Say first that what the page shows may be of an earlier time."""
    since = durations.said((overview.now - cause.since).total_seconds())
    reason = f"{cause.reason[:1].upper()}{cause.reason[1:]}."
    if cause.kind == "not_committing":
        return Headline(f"Commits fail for {since}", f"{reason} Agents keep what they hold.")
    if cause.kind == "not_evaluating":
        return Headline(f"Alerts are not evaluated for {since}", reason)
    return Headline(f"Unknown: no collector has reported for {since}", reason)


@dataclass(frozen=True)
class CauseLine:
    """One cause as it is written: glyph and colour, subject, fact, what supports it, a link."""

    state: str
    tone: str
    subject: str
    fact: str
    support: str
    href: str


def cause_line(cause: Cause) -> CauseLine:
    """Write one thing that is wrong."""
    state, tone = _TONES.get(cause.kind, ("unknown", "blind"))
    return CauseLine(
        state=state,
        tone=tone,
        subject=_subject(cause),
        fact=_fact(cause),
        support=_support(cause),
        href=cause_href(cause),
    )


def _subject(cause: Cause) -> str:
    if cause.kind == "agent_silent":
        return f"Host {cause.subject}"
    if cause.kind in _STANDSTILLS:
        return f"Collector {cause.subject}"
    return f"{cause.subject}:" if cause.kind == "alert" else cause.subject


def _fact(cause: Cause) -> str:
    if cause.kind in _STANDSTILLS:
        return _STANDSTILLS[cause.kind]
    if cause.kind == "alert":
        return cause.reason or "an alert fires"
    lost = f"has lost {gap_size(cause.gap)}" if cause.gap else ""
    if cause.kind == "gap":
        return lost or "has lost lines"
    if cause.kind == "expired":
        return "gives no result"
    name = "silent" if cause.kind == "agent_silent" else cause.kind
    several = cause.worker is None and cause.agent is None and bool(cause.explains)
    fact = f"{'are' if several else 'is'} {name}"
    if cause.kind == "lagging":
        fact = f"is {behind(cause.bytes_behind)}" if cause.bytes_behind else "is behind"
    elif cause.kind == "dead" and cause.reason:
        fact = f"is dead: {cause.reason}"
    return f"{fact} and {lost}" if lost else fact


def _support(cause: Cause) -> str:
    parts: list[str] = []
    if cause.reason and cause.kind not in {"dead", "alert", "gap"}:
        parts.append(f"{cause.reason[0].upper()}{cause.reason[1:]}.")
    if cause.gap:
        which = f"The newest of {cause.gap_count:,} gaps, #" if cause.gap_count > 1 else "Gap #"
        parts.append(f"{which}{cause.gap.id}: {gap_reason(cause.gap)}.")
    if cause.explains:
        parts.append(
            f"{listed_or_counted(cause.explains)}."
            if cause.agent is None
            else f"Explains {explained(cause.explains)}."
        )
    if not parts and cause.worker:
        parts.append(f"On {cause.worker.host}, of service {cause.worker.service}.")
    return " ".join(parts)


def listed_or_counted(workers: Sequence[WorkerName]) -> str:
    """Name workers, the first few where they are many."""
    names = [w.worker for w in workers]
    if len(names) > _MOST_NAMED + 3:
        return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"
    return listed(names)


def explained(workers: Sequence[WorkerName]) -> str:
    """Name the workers a cause explains, or count them where they are many."""
    if len(workers) > _MOST_NAMED:
        return plural(len(workers), "worker")
    noun = "worker" if len(workers) == 1 else f"{len(workers)} workers:"
    return f"{noun} {listed([w.worker for w in workers])}"


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def behind(bytes_behind: int | None) -> str:
    """Write a backlog: ``2.1 MB behind``."""
    return f"{numbers.file_size(bytes_behind or 0)} behind"


def gap_size(gap: Gap) -> str:
    """Write how much a gap lost; what is not known is not written as a number."""
    if gap.records:
        least = "at least " if gap.at_least else ""
        return f"{least}{plural(gap.records, 'line')}"
    if gap.bytes:
        return numbers.file_size(gap.bytes)
    return "lines, nobody knows how many"


def gap_reason(gap: Gap) -> str:
    """Say why lines were lost, in words where the reason is a known one."""
    return gap.detail or gap_reasons.sentence(gap.reason)


def worker_href(name: WorkerName) -> str:
    """Return the address of a worker's page."""
    return _worker_href(name.service, f"{name.worker}@{name.host}")


def _worker_href(service: str, rest: str) -> str:
    return f"/workers/{segment(service)}/{segment(rest)}"


def segment(text: str) -> str:
    """Write a name as one segment of a path, whatever it holds; ``unquote`` reads it back.

    Servers decode a path before it is split, so a slash inside a name is escaped twice.
    """
    return quote(text.replace("%", "%25").replace("/", "%2F"), safe="@:+")


def cause_href(cause: Cause) -> str:
    """Return where more about a cause is to be seen."""
    if cause.alert is not None:
        return f"/alerts/{cause.alert}"
    if cause.worker is not None:
        return worker_href(cause.worker)
    if cause.gap is not None:
        return f"/logs/gap/{cause.gap.id}"
    if cause.kind in _STANDSTILLS:
        return "/#store"
    if cause.components:
        return "/health"
    if cause.kind == "agent_silent":
        return "/workers?" + urlencode({"host": cause.subject})
    return worker_href(cause.explains[0]) if cause.explains else "/workers"


@dataclass(frozen=True)
class Piece:
    """A piece of the completeness line."""

    text: str
    href: str = ""
    strong: bool = False
    blind: bool = False


def completeness_pieces(parts: Iterable[Part]) -> list[Piece]:
    """Give each exception of the completeness sentence its link."""
    out: list[Piece] = []
    for part in parts:
        if part.kind == "gap":
            out.append(Piece(part.text, f"/logs/gap/{part.reference}"))
        elif part.kind == "worker":
            service, _, rest = part.reference.partition("/")
            out.append(Piece(part.text, _worker_href(service, rest)))
        elif part.kind == "agent":
            out.append(Piece(part.text, "/workers"))
        elif part.kind == "standstill":
            out.append(Piece(part.text, blind=True))
        else:
            out.append(Piece(part.text, strong=part.kind == "time"))
    return out


def gap_logs_href(gap: Gap) -> str:
    """Return the log page at a gap's place in time."""
    at = gap.from_at or gap.detected_at
    end = gap.to_at or at
    query = {
        "q": f"service:{gap.service} worker:{gap.worker}",
        "from": ranges.write(at - ranges.LENGTHS["5m"]),
        "to": ranges.write(end + ranges.LENGTHS["5m"]),
    }
    return "/logs?" + urlencode(query)
