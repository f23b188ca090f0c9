"""rsyslog beside us: the same file, read by its imfile and written by its ompgsql, same machine.

Its table is the yardstick's of `bench.row_copy`, with the same two indexes, and it parses the same
JSON. Configured for speed as its manual describes: an asynchronous action queue that is
disk-assisted, large batches (ompgsql wraps each in a transaction), retries without end, and the
place in the file kept every thousand lines. Then it is killed in the middle of the file, once, and
started again, and the rows are compared with the lines. Fluent Bit, whose packages are not in
Debian, is not measured.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from bench.lines import json_lines
from bench.processes import cpu_s, peak_rss_mb, tree_cpu_s
from bench.row_copy import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Results

_CONFIGURATION = """
global(workDirectory="{home}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
module(load="ompgsql")
template(name="row" type="list" option.stdsql="on") {{
  constant(value="insert into bench_rows values ('")
  property(name="$!ts")
  constant(value="','trading','w1',")
  property(name="$!severity")
  constant(value=",'")
  property(name="$!logger")
  constant(value="','")
  property(name="$!event")
  constant(value="','")
  property(name="$!message")
  constant(value="','")
  property(name="$!attributes")
  constant(value="')")
}}
ruleset(name="rows" queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="4096"
        queue.filename="parsing" queue.maxDiskSpace="2g" queue.saveOnShutdown="on") {{
  action(type="mmjsonparse" cookie="")
  action(type="ompgsql" conninfo="{conninfo}" template="row" action.resumeRetryCount="-1"
         queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="4096"
         queue.filename="writing" queue.maxDiskSpace="2g" queue.saveOnShutdown="on")
}}
input(type="imfile" file="{home}/w1.log" tag="bench" ruleset="rows" persistStateInterval="1000")
"""
_QUIET_S = 10.0


def run(postgres_url: str, server_pid: int, records: int, results: Results) -> None:
    """Measure it, if this machine has it."""
    print("beside: Fluent Bit is not measured")
    program = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
    if program is None:
        print("beside: no rsyslogd here (Debian: rsyslog and rsyslog-pgsql): left out")
        return
    start = datetime.now(UTC) - timedelta(seconds=records / 10_000)
    lines = list(json_lines(records, start, service="trading"))
    with _beside(program, postgres_url, lines) as its, its.process() as process:
        before = cpu_s(process.pid), tree_cpu_s(server_pid)
        started = time.perf_counter()
        its.appear()
        its.until(records, within_s=600)
        elapsed = time.perf_counter() - started
        own_us, server_us = (
            1e6 * (now - then) / records
            for now, then in zip((cpu_s(process.pid), tree_cpu_s(server_pid)), before, strict=True)
        )
        rows_bytes = its.one("select pg_total_relation_size('bench_rows')")
        peak_mb = peak_rss_mb(process.pid)
    results.add("beside.rsyslog.records_per_s", records / elapsed, "records/s")
    results.add("beside.rsyslog.cpu_us_per_record", own_us, "us")
    results.add("beside.rsyslog.postgres.cpu_us_per_record", server_us, "us")
    results.add("beside.rsyslog.bytes_per_record", rows_bytes / records, "bytes")
    results.add("beside.rsyslog.rss_mb", peak_mb, "MB")
    _killed(program, postgres_url, lines, results)


def _killed(program: str, postgres_url: str, lines: list[bytes], results: Results) -> None:
    """Kill it when a third is stored, start it again, and count when nothing moves any more."""
    with _beside(program, postgres_url, lines) as its:
        with its.process() as process:
            its.appear()
            its.until(len(lines) // 3, within_s=600)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with its.process():
            its.until_quiet()
        stored = its.one("select count(*) from bench_rows")
        distinct = its.one("select count(distinct attributes::jsonb ->> 'n') from bench_rows")
    results.add("beside.rsyslog.killed_once.lost", len(lines) - distinct, "records")
    results.add("beside.rsyslog.killed_once.twice", stored - distinct, "records")


@dataclass(slots=True)
class _Beside:
    """One table, one file, one configuration."""

    program: str
    home: Path
    connection: psycopg.Connection

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it in the foreground; not as the machine's own."""
        command = [self.program, "-n", "-f", str(self.home / "conf"), "-i", str(self.home / "pid")]
        with (self.home / "out").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            time.sleep(1.0)
            said = (self.home / "out").read_text()
            if process.poll() is not None or "error" in said:
                raise SystemExit(f"rsyslogd does not take its configuration: {said}")
            yield process
        finally:
            process.terminate()
            process.wait(60)
            (self.home / "pid").unlink(missing_ok=True)

    def appear(self) -> None:
        """Let the file be there, whole."""
        (self.home / "whole").rename(self.home / "w1.log")

    def one(self, query: str) -> int:
        """The one number a query answers."""
        row = self.connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def until(self, records: int, within_s: float) -> None:
        """Wait for so many rows."""
        end = time.monotonic() + within_s
        while self.one("select count(*) from bench_rows") < records:
            if time.monotonic() > end:
                raise SystemExit(f"beside: not in time: {(self.home / 'out').read_text()}")
            time.sleep(0.5)

    def until_quiet(self) -> None:
        """Wait until no row was added for a while."""
        rows, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET_S:
            if (now := self.one("select count(*) from bench_rows")) != rows:
                rows, since = now, time.monotonic()
            time.sleep(0.5)


@contextmanager
def _beside(program: str, postgres_url: str, lines: list[bytes]) -> Iterator[_Beside]:
    home = Path(tempfile.mkdtemp(prefix="outrider-beside-"))
    (home / "conf").write_text(_CONFIGURATION.format(home=home, conninfo=postgres_url))
    (home / "whole").write_bytes(b"".join(lines))
    try:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(TABLE)
            yield _Beside(program, home, connection)
            connection.execute("drop table bench_rows")
    finally:
        shutil.rmtree(home, ignore_errors=True)
