"""Lines of one stream to records: JSON, a named plain format, or whatever `auto` finds.

With ``auto`` a line that is a JSON object is always read as one, whatever its neighbours are; for
the others one named format is chosen for the file. As long as none fits (a banner, a traceback) the
file is undecided, and each run of lines is looked at anew, at most 48 of them. The first one that
fits may yet give way to another, by the first 64 lines (a banner may be in a format of its own);
from then on it stays until 64 lines in a row do not fit. What is in no format is a record all the
same: the whole line is the message, the time is the time of reading and is marked so.

The choice is made of lines alone and is kept nowhere: after a restart it is made where reading goes
on, so it may come at another line. It changes no record's bounds.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import replace
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider_agent import encodings, marks
from outrider_agent.formats import FORMATS, Format, Parsed, choose, sample
from outrider_agent.framing import MAX_LINE_BYTES, cut
from outrider_agent.json_lines import JsonReader
from outrider_agent.records import MAX_NAME_BYTES, Records
from outrider_agent.times import TimeReader, absurd

if TYPE_CHECKING:
    from datetime import tzinfo

    from outrider_agent.framing import Lines

_DECIDING_LINES = 64
# After so many plain lines that the chosen format does not fit, it is chosen anew.
_MISSES_BEFORE_NEW_CHOICE = 64
# What a runtime writes when a program fails is an error, though no logger says so.
_CRASHES = (
    b"Traceback (most recent call last):",
    b"panic: ",
    b"fatal error: ",
    b"Exception in thread ",
)


class Parser:
    """Parses one stream. ``format_name`` is ``auto``, ``json``, ``plain`` or a named format.

    ``encoding`` is one that :mod:`outrider_agent.encodings` knows; else LookupError.
    """

    def __init__(self, format_name: str, zone: tzinfo, encoding: str = "utf-8") -> None:
        self._encoding = encodings.canonical(encoding)
        self._times = TimeReader(zone)
        self._json = JsonReader(self._times) if format_name in {"auto", "json"} else None
        self._name = format_name
        self._auto = format_name == "auto"
        self._format: Format | None = FORMATS.get(format_name)
        self._misses = 0
        self._sampled: list[str] = []
        """Lines by which the format was chosen, until they are enough."""
        self._fits = (0, 0)

    @property
    def encoding(self) -> str:
        """The encoding of the file's lines."""
        return self._encoding

    @property
    def choice(self) -> str:
        """Which format lines are read in, and why, for people."""
        if not self._auto:
            return f"{self._name}, as configured"
        json = "lines that are JSON objects are read as JSON"
        if self._format is None:
            undecided = "undecided so far, read as plain; " if self._fits[1] else ""
            return f"auto: {undecided}{json}"
        fits, lines = self._fits
        return f"auto: {self._format.name}, which fits {fits} of {lines} lines; {json}"

    def parse(self, lines: Lines, observed_us: int, *, partial: bool = False) -> Records:
        """Return a record for each line; ``partial`` marks the last one, which has no newline."""
        lines, unclean = self._readable(lines)
        records = Records()
        first = 0
        for index in sorted(lines.cut):
            self._run(lines.lines[first:index], lines.starts[first:index], observed_us, records)
            extra: dict[str, object] = {marks.TRUNCATED: {"original_bytes": lines.cut[index]}}
            self._plain(lines.lines[index], lines.starts[index], observed_us, records, extra)
            first = index + 1
        if first:
            self._run(lines.lines[first:], lines.starts[first:], observed_us, records)
        else:
            self._run(lines.lines, lines.starts, observed_us, records)
        if partial and len(records):
            _mark(records, -1, marks.PARTIAL, b"true")
        for index in unclean:
            _mark(records, index, marks.SANITIZED, b"true")
        for index, offset in lines.continued.items():
            _mark(records, index, marks.CONTINUED, b'{"offset":%d}' % offset)
        return records

    def _readable(self, lines: Lines) -> tuple[Lines, list[int]]:
        """Return lines in UTF-8, without a byte order mark, and which had bytes of no meaning."""
        texts, cuts = lines.lines, lines.cut
        unclean: list[int] = []
        if self._encoding != "utf-8":
            made = [encodings.decoded(line, self._encoding) for line in texts]
            unclean = [index for index, one in enumerate(made) if not one.is_clean]
            # They may have become longer than a record's text may be.
            longer = [i for i, one in enumerate(made) if len(one.line) > MAX_LINE_BYTES]
            cuts = {**{index: len(texts[index]) for index in longer}, **cuts}
            texts = [cut(one.line, MAX_LINE_BYTES) for one in made]
        if lines.starts and lines.starts[0] == 0 and texts[0].startswith(BOM_UTF8):
            texts = [texts[0].removeprefix(BOM_UTF8), *texts[1:]]
        if texts is lines.lines:
            return lines, unclean
        return replace(lines, lines=texts, cut=cuts), unclean

    def _run(self, lines: list[bytes], starts: list[int], observed_us: int, into: Records) -> None:
        if not lines:
            return
        self._consider(lines, observed_us)
        if self._json is not None:
            self._json.read(
                lines,
                starts,
                observed_us,
                into,
                lambda line, start: self._plain(line, start, observed_us, into, {}),
            )
            return
        for line, start in zip(lines, starts, strict=True):
            self._plain(line, start, observed_us, into, {})

    def _consider(self, lines: list[bytes], observed_us: int) -> None:
        """Choose the format of plain lines: where there is none yet, or it fits no more."""
        is_new = self._format is None or self._misses >= _MISSES_BEFORE_NEW_CHOICE
        if not self._auto or not (is_new or len(self._sampled) < _DECIDING_LINES):
            return
        plain = sample(lines)
        if plain:
            # What no format fits has no say in it.
            self._sampled = plain if is_new else self._sampled + plain
            self._format = choose(self._sampled, self._times, observed_us) or self._format
            self._misses = 0
            fits = self._count_fits(self._sampled, observed_us)
            self._fits = (fits, len(self._sampled))

    def _count_fits(self, plain: list[str], observed_us: int) -> int:
        if self._format is None:
            return 0
        return sum(self._format.parse(x, self._times, observed_us) is not None for x in plain)

    def _plain(
        self,
        line: bytes,
        start: int,
        observed_us: int,
        into: Records,
        attributes: dict[str, object],
    ) -> None:
        raw, dirty = marks.clean_bytes(line)
        if dirty:
            attributes[marks.SANITIZED] = True
            if len(raw) > MAX_LINE_BYTES:  # escapes are longer than what they stand for
                attributes.setdefault(marks.TRUNCATED, {"original_bytes": len(line)})
                raw = cut(raw, MAX_LINE_BYTES)
        parsed = self._match(raw, observed_us)
        ts_us = observed_us
        if parsed is None:
            attributes[marks.TIME] = {"reason": "absent"}
            severity = severities.ERROR if raw.startswith(_CRASHES) else severities.INFO
            message, logger = raw, None
        else:
            message, severity, logger = parsed.message.encode(), parsed.severity, parsed.logger
            if logger and len(logger.encode()) > MAX_NAME_BYTES:
                attributes["logger"], logger = logger, None
            attributes = {**parsed.attributes, **attributes}
            if parsed.ts_us is None or absurd(parsed.ts_us, observed_us):
                attributes[marks.TIME] = _why(parsed)
            else:
                ts_us = parsed.ts_us
        into.stream_offset.append(start)
        into.ts_us.append(ts_us)
        into.observed_us.append(observed_us)
        into.severity.append(severity)
        into.message.append(message)
        into.attributes.append(marks.encode_attributes(attributes))
        into.logger.append(logger)
        into.event.append(None)
        into.error_code.append(None)
        into.trace_id.append(None)
        into.correlation_id.append(None)

    def _match(self, raw: bytes, observed_us: int) -> Parsed | None:
        if self._format is None:
            return None
        parsed = self._format.parse(raw.decode(), self._times, observed_us)
        self._misses = self._misses + 1 if parsed is None else 0
        return parsed


def _why(parsed: Parsed) -> dict[str, object]:
    if parsed.raw_time is None:
        return {"reason": "absent"}
    reason = "unreadable" if parsed.ts_us is None else "absurd"
    return {"original": parsed.raw_time, "reason": reason}


def _mark(records: Records, index: int, mark: str, value: bytes) -> None:
    """Add a mark to a record's attributes, which are a JSON object already."""
    before = records.attributes[index]
    member = b'"' + mark.encode() + b'":' + value
    if before is None or before.strip() == b"{}":
        records.attributes[index] = b"{" + member + b"}"
    else:
        records.attributes[index] = before.rstrip()[:-1] + b"," + member + b"}"
