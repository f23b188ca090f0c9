"""The named plain-text formats: one entry says how a line is cut and how its time is read.

An entry is a regular expression (ours, never a user's, so Python's ``re`` is safe as long as no
entry nests repetitions) with named groups, and a layout for the time:

* ``time``: read as ISO 8601, or by the entry's ``strptime`` layout; ``fraction`` and ``zone`` may
  be groups of their own.
* ``level``: a word that ``outrider.severity`` knows, or one of the entry's own words.
* ``message`` (default: the whole line), ``logger``; every other group becomes an attribute, numbers
  where they are digits.

Levels that a line does not name follow from ``severity``: a function of the groups.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from outrider import severity as severities
from outrider_agent.times import fraction_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider_agent.times import TimeReader

_ISO = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)\b)?"
)
_LEVEL = (
    r"TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE|ALERT|EMERG|EMERGENCY|PANIC"
    r"|trace|debug|info|notice|warn|warning|error|err|critical|crit|fatal|alert|emerg|panic"
    r"|Trace|Debug|Info|Information|Notice|Warn|Warning|Error|Critical|Fatal"
)
_OWN = frozenset({"time", "fraction", "year", "zone", "level", "message", "logger"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a line said."""

    ts_us: int | None
    severity: int
    message: str
    logger: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    raw_time: str | None = None
    """The time as it was written; with ``ts_us`` None it could not be read."""


@dataclass(frozen=True, slots=True)
class Format:
    """One named format."""

    name: str
    pattern_text: str
    layout: str = "iso"
    """``iso``, a ``strptime`` layout, or one without a year (``yearless`` is then true)."""
    yearless: bool = False
    levels: Mapping[str, int] = field(default_factory=dict)
    """Words of this format that mean something else than usual."""
    severity: Callable[[Mapping[str, str | None]], int] | None = None
    """Severity from the groups, for formats without a level word."""

    def parse(self, line: str, times: TimeReader, observed_us: int) -> Parsed | None:
        """Parse one line, or return None when it is not of this format."""
        match = _compiled(self.pattern_text).match(line)
        if match is None:
            return None
        groups = match.groupdict()
        time = groups.get("time")
        ts_us = None if time is None else self._time(time, groups, times, observed_us)
        message = groups.get("message")
        return Parsed(
            ts_us=ts_us,
            severity=self._severity(groups),
            message=line if message is None else message,
            logger=groups.get("logger") or None,
            attributes={k: _number(v) for k, v in groups.items() if v and k not in _OWN},
            raw_time=time,
        )

    def _time(
        self, time: str, groups: Mapping[str, str | None], times: TimeReader, observed_us: int
    ) -> int | None:
        if self.layout == "iso":
            return times.iso(time)
        zone = groups.get("zone")
        if "year" in groups:
            time = f"{time} {groups['year']}"
        if self.yearless:
            base = times.without_year(" ".join(time.split()), self.layout, observed_us, zone)
        else:
            base = times.second(time, self.layout, zone)
        return None if base is None else base + fraction_us(groups.get("fraction"))

    def _severity(self, groups: Mapping[str, str | None]) -> int:
        if self.severity is not None:
            return self.severity(groups)
        word = groups.get("level")
        if word is None:
            return severities.INFO
        own = self.levels.get(word)
        return own if own is not None else severities.parse(word) or severities.INFO


def _number(text: str) -> str | int:
    # int() would take signs, spaces and other scripts' digits, and lose leading zeros.
    plain = text.isascii() and text.isdigit() and len(text) <= 15
    return int(text) if plain and (text == "0" or text[0] != "0") else text


# Syslog's eight severities in OpenTelemetry's numbers (its own table of mappings).
_SYSLOG = (24, 23, 22, 17, 13, 10, 9, 5)


def _syslog_severity(groups: Mapping[str, str | None]) -> int:
    priority = groups.get("priority")
    return _SYSLOG[int(priority) % 8] if priority else severities.INFO


def _status_severity(groups: Mapping[str, str | None]) -> int:
    status = groups.get("status") or ""
    if status.startswith("5"):
        return severities.ERROR
    return severities.WARN if status.startswith("4") else severities.INFO


def _format(name: str, pattern: str, **options: Any) -> Format:
    return Format(name, pattern + r"\Z", **options)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # At first use: an agent that reads JSON alone needs none of them.
    return re.compile(pattern, re.DOTALL)


# In the order in which they are tried: the more particular first, since `auto` takes the first
# that fits.
_ENTRIES = (
    # 2026-11-24 20:02:31,123 - payments - ERROR - charge failed
    _format(
        "python",
        rf"(?P<time>{_ISO}) - (?P<logger>[^ ]{{1,128}}) - (?P<level>{_LEVEL}) - (?P<message>.*)",
    ),
    # ERROR:payments:charge failed (logging.basicConfig without a format: no time)
    _format("python-basic", rf"(?P<level>{_LEVEL}):(?P<logger>[\w.\-]{{1,128}}):(?P<message>.*)"),
    # 2026-11-24 20:02:31,123 [main] ERROR com.example.Charge - charge failed (log4j, logback)
    _format(
        "log4j",
        rf"(?P<time>{_ISO}) \[(?P<thread>[^\]]{{1,128}})\] (?P<level>{_LEVEL}) +"
        r"(?P<logger>[\w.$\-]{1,200})(?: -|:) (?P<message>.*)",
    ),
    # 2026-11-24 20:02:31.123 ERROR 4711 --- [main] c.example.Charge : charge failed
    _format(
        "spring",
        rf"(?P<time>{_ISO}) +(?P<level>{_LEVEL}) (?P<pid>\d+) --- \[(?P<thread>[^\]]{{0,200}})\] "
        r"(?:\[[^\]]*\] )?(?P<logger>[^ ]{1,200}) *: (?P<message>.*)",
    ),
    # 2026-11-24 20:02:31.123 UTC [4711] ERROR:  duplicate key (Postgres's default log_line_prefix)
    _format(
        "postgres",
        r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6}))? "
        r"(?P<zone>UTC|GMT|[+-]\d\d(?::\d\d)?)? ?(?:[A-Z]{3,5} )?\[(?P<pid>\d+)\] "
        r"(?:(?P<user>[^ @]+)@(?P<database>[^ ]+) )?"
        r"(?P<level>DEBUG[1-5]?|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC|DETAIL|HINT|CONTEXT"
        r"|STATEMENT|QUERY):  (?P<message>.*)",
        layout="%Y-%m-%d %H:%M:%S",
        levels=dict.fromkeys(("DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY"), severities.INFO)
        | dict.fromkeys(("DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5"), severities.DEBUG),
    ),
    # 2026/11/24 20:02:31 [error] 4711#4711: *1 open() failed
    _format(
        "nginx-error",
        r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>\w+)\] (?P<pid>\d+)#\d+: "
        r"(?P<message>.*)",
        layout="%Y/%m/%d %H:%M:%S",
    ),
    # 127.0.0.1 - anna [24/Nov/2026:20:02:31 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8.5"
    # (nginx's and Apache's access logs, common and combined)
    _format(
        "access",
        r"(?P<client>[^ ]+) [^ ]+ (?P<user>[^ ]+) "
        r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
        r'"(?:(?P<method>[A-Z]{3,10}) (?P<target>[^" ]+)[^"]*|[^"]*)" (?P<status>\d{3}) '
        r"(?P<bytes>\d+|-).*",
        layout="%d/%b/%Y:%H:%M:%S",
        severity=_status_severity,
    ),
    # [Tue Nov 24 20:02:31.123456 2026] [core:error] [pid 4711] [client 127.0.0.1:1] File missing
    _format(
        "apache-error",
        r"\[[A-Z][a-z]{2} (?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)"
        r"(?:\.(?P<fraction>\d{1,6}))? (?P<year>\d{4})\] "
        r"\[(?:(?P<logger>\w*):)?(?P<level>\w+)\] (?:\[pid (?P<pid>\d+)(?::tid \d+)?\] )?"
        r"(?:\[client (?P<client>[^\]]+)\] )?(?P<message>.*)",
        layout="%b %d %H:%M:%S %Y",
    ),
    # <165>1 2026-11-24T20:02:31.003Z host app 4711 ID47 - charge failed (RFC 5424)
    _format(
        "syslog-5424",
        rf"<(?P<priority>\d{{1,3}})>1 (?P<time>{_ISO}|-) (?P<host>[^ ]+) (?P<logger>[^ ]+) "
        r"(?P<pid>[^ ]+) (?P<message_id>[^ ]+) (?P<data>-|(?:\[[^\]]*\])+)(?: (?P<message>.*))?",
        severity=_syslog_severity,
    ),
    # <34>Nov 24 20:02:31 host app[4711]: charge failed (RFC 3164; files lack the priority)
    _format(
        "syslog-3164",
        r"(?:<(?P<priority>\d{1,3})>)?(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) "
        r"(?P<host>[^ ]+) (?P<logger>[^ :\[]{1,128})(?:\[(?P<pid>\d+)\])?: (?P<message>.*)",
        layout="%b %d %H:%M:%S",
        yearless=True,
        severity=_syslog_severity,
    ),
    # E1124 20:02:31.123456    4711 charge.go:42] charge failed (glog, klog)
    _format(
        "klog",
        r"(?P<level>[DIWEF])(?P<time>\d{4} \d\d:\d\d:\d\d)\.(?P<fraction>\d{6}) +(?P<thread>\d+) "
        r"(?P<location>[^ \]]+:\d+)\] (?P<message>.*)",
        layout="%m%d %H:%M:%S",
        yearless=True,
    ),
    # 2026/11/24 20:02:31 charge failed (Go's log package)
    _format(
        "go",
        r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{6}))? "
        r"(?:(?P<location>[\w./\-]+\.go:\d+): )?(?P<message>.*)",
        layout="%Y/%m/%d %H:%M:%S",
    ),
    # 4711:M 24 Nov 2026 20:02:31.123 # Can't save in background: fork failed
    _format(
        "redis",
        r"(?P<pid>\d+):[A-Z] (?P<time>\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d)"
        r"(?:\.(?P<fraction>\d{3}))? (?P<level>[.\-*#]) (?P<message>.*)",
        layout="%d %b %Y %H:%M:%S",
        levels={
            ".": severities.DEBUG,
            "-": severities.INFO,
            "*": severities.INFO + 1,
            "#": severities.WARN,
        },
    ),
    # INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK (uvicorn: no time)
    _format("uvicorn", r"(?P<level>TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL): +(?P<message>.*)"),
    # 2026-11-24T20:02:31Z ERROR charge failed; [2026-11-24 20:02:31] error: charge failed
    _format(
        "iso",
        rf"\[?(?P<time>{_ISO})\]?(?:[ :|\-]{{1,4}}\[?(?P<level>{_LEVEL})\]?(?=[ :|\-\]]))?"
        r"[ :|\-]{0,6}(?P<message>.*)",
    ),
)

FORMATS: dict[str, Format] = {entry.name: entry for entry in _ENTRIES}
"""By name, in the order in which ``auto`` tries them."""
