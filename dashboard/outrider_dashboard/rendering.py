"""The templates' environment: autoescape everywhere, filters for numbers and hostile text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.templating import Jinja2Templates

from outrider import durations, severity
from outrider_dashboard import columns, hostile, numbers, sentences, timing
from outrider_dashboard.numbers import alert_name

if TYPE_CHECKING:
    from outrider_collector.store.reading.types import LogRow

HOME = Path(__file__).parent
STATIC = HOME / "static"

_SHAPES = {
    "running": "up", "claimed": "waiting", "waiting": "pending", "down": "dead",
    "expired": "silent",
}  # fmt: skip
"""States that share a shape with another one of their own list."""

_KNOWN_SHAPES = frozenset(
    {
        "up", "degraded", "lagging", "silent", "dead", "maintenance", "retired", "unknown", "gap",
        "pending", "firing", "recovering", "resolved", "sent", "suppressed", "superseded", "failed",
    }
)  # fmt: skip
_FATAL = 21
_MOST_PAIRS = 24
"""Attributes of a row beyond this number are in its details only."""


class NavigationItem(NamedTuple):
    """A page of the navigation. Only pages that exist are in it."""

    name: str
    href: str
    icon: str


NAVIGATION = (
    NavigationItem("Overview", "/", "overview"),
    NavigationItem("Logs", "/logs", "lines"),
    NavigationItem("Workers", "/workers", "workers"),
    NavigationItem("Health", "/health", "health"),
    NavigationItem("Alerts", "/alerts", "bell"),
    NavigationItem("Audit", "/audit", "person"),
)


def asset(path: str) -> str:
    """Return the address of a static file, with its content's hash so that it may be kept."""
    return f"/static/{path}?{_digest(path)}"


def shape(state: str) -> str:
    """Return the glyph of a state; a state this page does not know is drawn as unknown."""
    name = _SHAPES.get(state, state)
    return name if name in _KNOWN_SHAPES else "unknown"


def pairs(row: LogRow) -> list[str]:
    """Return a row's attributes as ``key=value``, the ones that decide first."""
    out: list[str] = []
    if row.error_code:
        out.append(f"error_code={row.error_code}")
    # The event of a line is in its details and in the facets; of an end it is the point.
    if row.event and row.severity >= _FATAL:
        out.append(f"event={row.event}")
    out.extend(_flat(row.attributes))
    return out[:_MOST_PAIRS]


def _flat(attributes: dict[str, Any]) -> list[str]:
    out = []
    for name, value in list(attributes.items())[:_MOST_PAIRS]:
        if name == "exception" and isinstance(value, dict):
            kind = value.get("type")
            out.append(f"exception={kind}" if kind else "exception")
        elif isinstance(value, str):
            out.append(f"{name}={value}")
        else:
            out.append(f"{name}={json.dumps(value, ensure_ascii=False, separators=(',', ':'))}")
    return out


_digests: dict[str, str] = {}


def _digest(path: str) -> str:
    if path not in _digests:
        content = (STATIC / path).read_bytes()
        _digests[path] = hashlib.sha256(content).hexdigest()[:12]
    return _digests[path]


def environment() -> Environment:
    """Build the environment. A name that a template misspells is an error, not an empty text."""
    env = Environment(
        loader=FileSystemLoader(HOME / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["asset"] = asset
    env.filters.update(
        alert_name=alert_name,
        column=columns.text,
        visible=hostile.visible,
        visible_lines=hostile.visible_lines,
        utc=timing.utc_text,
        age=durations.said,
        short_age=timing.short_age,
        round_span=timing.span,
        offset=timing.offset,
        latency=timing.latency,
        count=numbers.count,
        exact=numbers.exact,
        compact=numbers.compact,
        file_size=numbers.file_size,
        memory_size=numbers.memory_size,
        percent=numbers.percent,
        uptime=numbers.uptime,
        target=numbers.target,
        budget_left=numbers.left,
        measure=numbers.measure,
        shape=shape,
        pairs=pairs,
        level=severity.name,
        plural=numbers.plural,
        worker_href=sentences.worker_href,
        gap_size=sentences.gap_size,
        gap_reason=sentences.gap_reason,
    )
    return env


TEMPLATES = Jinja2Templates(env=environment())
