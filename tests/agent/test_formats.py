"""The named plain formats: each is found by `auto`, with level, time and zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from outrider.instants import to_us
from outrider_agent.formats import FORMATS, Format, Parsed, choose
from outrider_agent.framing import Lines
from outrider_agent.parsing import Parser
from outrider_agent.records import Records
from outrider_agent.times import TimeReader, from_number

OBSERVED_US = to_us(datetime(2026, 11, 24, 20, 5, tzinfo=UTC))
AT = datetime(2026, 11, 24, 20, 2, 31, tzinfo=UTC)


def us(moment: datetime) -> int:
    """Microseconds since 2000."""
    return to_us(moment)


SAMPLES: list[tuple[str, str, datetime | None, int, str, str | None]] = [
    ("python", "2026-11-24 20:02:31,123 - payments - ERROR - charge failed",
     AT + timedelta(milliseconds=123), 17, "charge failed", "payments"),
    ("python-basic", "WARNING:payments.charge:slow", None, 13, "slow", "payments.charge"),
    ("log4j", "2026-11-24 20:02:31,123 [main] INFO  com.example.Charge - started",
     AT + timedelta(milliseconds=123), 9, "started", "com.example.Charge"),
    ("spring", "2026-11-24 20:02:31.123  WARN 4711 --- [nio-1] c.example.Charge   : slow",
     AT + timedelta(milliseconds=123), 13, "slow", "c.example.Charge"),
    ("postgres", "2026-11-24 20:02:31.123 UTC [4711] ERROR:  duplicate key",
     AT + timedelta(milliseconds=123), 17, "duplicate key", None),
    ("postgres", "2026-11-24 20:02:31.123 UTC [4711] anna@shop LOG:  statement: select 1",
     AT + timedelta(milliseconds=123), 9, "statement: select 1", None),
    ("nginx-error", "2026/11/24 20:02:31 [crit] 12#12: *1 open() failed", AT, 21,
     "*1 open() failed", None),
    ("access", '127.0.0.1 - anna [24/Nov/2026:22:02:31 +0200] "GET /a HTTP/1.1" 503 612 "-" "curl"',
     AT, 17,
     '127.0.0.1 - anna [24/Nov/2026:22:02:31 +0200] "GET /a HTTP/1.1" 503 612 "-" "curl"', None),
    ("apache-error", "[Tue Nov 24 20:02:31.000123 2026] [core:error] [pid 4711] [client ::1] gone",
     AT + timedelta(microseconds=123), 17, "gone", "core"),
    ("syslog-5424", "<165>1 2026-11-24T20:02:31.003Z host app 4711 ID47 - up",
     AT + timedelta(milliseconds=3), 10, "up", "app"),
    ("syslog-3164", "<34>Nov 24 20:02:31 host app[4711]: failed", AT, 22 + 1 - 6, "failed", "app"),
    ("syslog-3164", "Nov 24 20:02:31 host app[4711]: plain file", AT, 9, "plain file", "app"),
    ("klog", "E1124 20:02:31.000123    4711 charge.go:42] failed",
     AT + timedelta(microseconds=123), 17, "failed", None),
    ("go", "2026/11/24 20:02:31 listening on :80", AT, 9, "listening on :80", None),
    ("redis", "4711:M 24 Nov 2026 20:02:31.123 # Can't save",
     AT + timedelta(milliseconds=123), 13, "Can't save", None),
    ("uvicorn", "INFO:     Application startup complete.", None, 9,
     "Application startup complete.", None),
    ("iso", "2026-11-24T20:02:31.123456+00:00 ERROR charge failed",
     AT + timedelta(microseconds=123456), 17, "charge failed", None),
    ("iso", "[2026-11-24 20:02:31] error: charge failed", AT, 17, "charge failed", None),
    ("iso", "2026-11-24T22:02:31+02:00 charge failed", AT, 9, "charge failed", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "when", "severity", "message", "logger"), SAMPLES)
def test_a_format_is_found_and_read(
    name: str, line: str, when: datetime | None, severity: int, message: str, logger: str | None
) -> None:
    """`auto` names the format of a typical line and gives its time, level and text."""
    times = TimeReader(UTC)
    found = choose([line], times, OBSERVED_US)
    assert found is not None
    parsed = found.parse(line, times, OBSERVED_US)
    assert parsed is not None

    assert found.name == name
    assert parsed.ts_us == (None if when is None else us(when))
    assert (parsed.message, parsed.logger) == (message, logger)
    if name != "syslog-3164":
        assert parsed.severity == severity


def test_there_is_a_dozen_formats_and_each_is_sampled() -> None:
    """No entry of the table is without a sample here."""
    assert len(FORMATS) >= 12
    assert {sample[0] for sample in SAMPLES} == set(FORMATS)


def test_syslog_priorities_become_severities() -> None:
    """The eight severities of syslog are OpenTelemetry's own mapping of them."""
    found = [
        FORMATS["syslog-3164"].parse(
            f"<{8 + level}>Nov 24 20:02:31 h a: m", TimeReader(UTC), OBSERVED_US
        )
        for level in range(8)
    ]

    assert [parsed and parsed.severity for parsed in found] == [24, 23, 22, 17, 13, 10, 9, 5]


def test_a_time_without_a_zone_is_of_the_sources_zone() -> None:
    """The same line means another moment where its source names another zone."""
    line = "2026-11-24 20:02:31 ERROR x"
    east = TimeReader(timezone(timedelta(hours=2)))
    parsed = FORMATS["iso"].parse(line, east, OBSERVED_US)

    assert parsed is not None
    assert parsed.ts_us == us(AT - timedelta(hours=2))


def test_a_time_without_a_year_is_near_its_reading() -> None:
    """A line of December that is read in January is of the year before."""
    january = us(datetime(2027, 1, 1, 0, 5, tzinfo=UTC))
    parsed = FORMATS["syslog-3164"].parse("Dec 31 23:59:59 h a: m", TimeReader(UTC), january)

    assert parsed is not None
    assert parsed.ts_us == us(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))


def test_lines_in_no_format_are_records_too() -> None:
    """A line without a time gets that of its reading, and says so."""
    records = Parser("auto", UTC).parse(Lines([b"just words"], [0]), OBSERVED_US)

    assert (records.message, records.ts_us) == ([b"just words"], [OBSERVED_US])
    assert json.loads(records.attributes[0] or b"") == {"outrider.time": {"reason": "absent"}}


BANNER = [b"Starting payments v1.2 ..."]
TRACEBACK = [b"Traceback (most recent call last):", b'  File "a.py", line 3', b"KeyError: 'x'"]
ERRORS = [b"2026-11-24 20:02:31,230 ERROR charge failed %d" % n for n in range(12)]


def read(parser: Parser, lines: list[bytes]) -> Records:
    """What a run of lines becomes."""
    return parser.parse(Lines(lines, list(range(len(lines)))), OBSERVED_US)


@pytest.mark.parametrize("first", [BANNER, BANNER * 40, TRACEBACK, TRACEBACK * 100])
def test_a_format_that_begins_later_is_found(first: list[bytes]) -> None:
    """Nothing fits a banner or a traceback; the lines after it are read all the same."""
    parser = Parser("auto", UTC)
    assert all(b"absent" in (x or b"") for x in read(parser, first).attributes)
    assert "undecided so far, read as plain" in parser.choice
    later = read(parser, ERRORS)
    together = read(Parser("auto", UTC), first + ERRORS)

    for records in (later, together):
        assert list(records.severity[-12:]) == [17] * 12
        assert list(records.ts_us[-12:]) == [us(AT + timedelta(milliseconds=230))] * 12
    assert "auto: iso, which fits 12 of 12 lines" in parser.choice


PYTHON = [b"2026-11-24 20:02:31,230 - pay - ERROR - charge failed %d" % n for n in range(90)]


@pytest.mark.parametrize(
    "banner",
    [
        [b"2026-11-24 20:02:30 payments starting"],
        [b"INFO: payments", b"INFO: starting"],
        [b"2026/11/24 20:02:30 go is called"] * 3,
    ],
)
@pytest.mark.parametrize("together", [1, 7, 90])
def test_a_banner_in_a_format_of_its_own_decides_nothing(
    banner: list[bytes], together: int
) -> None:
    """The first lines are looked at together, however they come; soon the right one is read."""
    parser = Parser("auto", UTC)
    read(parser, banner)
    records = Records()
    for first in range(0, len(PYTHON), together):
        records.extend(read(parser, PYTHON[first : first + together]))
    anew = read(Parser("auto", UTC), PYTHON[10:])

    assert records.logger[12:] == ["pay"] * 78
    assert list(records.severity[12:]) == [17] * 78
    assert anew.logger == ["pay"] * 80
    assert parser.choice.startswith("auto: python, which fits")


def test_a_format_that_was_chosen_stays() -> None:
    """A traceback in the middle of a file, whose exception looks like another format."""
    parser = Parser("auto", UTC)
    read(parser, ERRORS)
    read(parser, [*TRACEBACK, *[b"INFO:     looks like uvicorn's"] * 40])

    assert list(read(parser, ERRORS).severity) == [17] * 12


def test_lines_of_json_leave_nothing_undecided() -> None:
    """A file of JSON is no plain file."""
    parser = Parser("auto", UTC)
    read(parser, [b'{"message":"m"}'] * 3)

    assert parser.choice == "auto: lines that are JSON objects are read as JSON"


def test_a_file_that_no_format_fits_stays_plain_at_little_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many lines are read at once, each format is tried on 48 of them at most."""
    tried: list[str] = []
    parse = Format.parse

    def counted(entry: Format, line: str, times: TimeReader, observed_us: int) -> Parsed | None:
        tried.append(line)
        return parse(entry, line, times, observed_us)

    monkeypatch.setattr(Format, "parse", counted)
    parser = Parser("auto", UTC)
    for count in (1, 48, 1_000, 10_000):
        tried.clear()
        records = read(parser, [b"just words"] * count)
        assert set(records.severity) == {9}
        assert len(tried) == min(count, 48) * len(FORMATS)
    assert "undecided so far, read as plain" in parser.choice


def test_a_file_may_mix_json_and_plain_lines() -> None:
    """Each line is read for what it is."""
    lines = [b'{"message":"json","level":"error"}', b"2026-11-24 20:02:31 WARN plain", b"  at x"]
    records = Parser("auto", UTC).parse(Lines(lines, [0, 50, 90]), OBSERVED_US)

    assert records.message == [b"json", b"plain", b"  at x"]
    assert list(records.severity) == [17, 13, 9]
    assert records.stream_offset == [0, 50, 90]


def test_plain_reads_nothing_into_a_line() -> None:
    """Under the format `plain` a line is its text, whatever it looks like."""
    records = Parser("plain", UTC).parse(Lines([b'{"level":"error"}'], [0]), OBSERVED_US)

    assert (records.message, records.severity[0]) == ([b'{"level":"error"}'], 9)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_unix_times_are_told_apart_by_size(unit: int) -> None:
    """Seconds, milli-, micro- and nanoseconds of the same moment are that moment."""
    assert from_number(1_795_550_551 * unit) == us(datetime.fromtimestamp(1_795_550_551, UTC))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, -1e30])
def test_numbers_that_are_no_times_are_none(value: float) -> None:
    """No number is too odd to be asked about."""
    assert from_number(value) is None
