"""Event streams over a real socket: live pages, live tail, a dashboard that dies and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import psycopg

from tests.dashboard.seed import Line
from tests.dashboard.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dashboard.conftest import Fleet
    from tests.dashboard.serving import Served


def write(fleet: Fleet, *messages: str, severity: int = 9) -> int:
    """Commit lines of risk-guard in one block; return its feed number."""
    stream = fleet.seeder.streams["trading", "risk-guard"]
    now = datetime.now(UTC)
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        fleet.seeder.connection = connection
        fleet.seeder.block("trading", [(stream, Line(now, severity, m)) for m in messages], now)
        row = connection.execute("select max(number) from feed").fetchone()
    assert row is not None
    number: int = row[0]
    return number


@contextmanager
def events(url: str, last: int | None = None) -> Iterator[Iterator[tuple[int, str, Any]]]:
    """Open an event stream as a browser does; yields (id, name, data) of each event."""
    headers = {"last-event-id": str(last)} if last is not None else {}
    with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parsed(answer.iter_lines())


def _parsed(lines: Iterator[str]) -> Iterator[tuple[int, str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "event" in fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


def test_a_commit_is_told(served: Served, fleet: Fleet) -> None:
    """A page hears of a commit with its feed number and kind."""
    with psycopg.connect(fleet.url) as connection:
        row = connection.execute("select max(number) from feed").fetchone()
    assert row is not None

    with events(f"{served.url}/live", last=row[0]) as stream:
        number = write(fleet, "hello")

        assert next(stream) == (number, "change", ["ingest"])


def test_the_tail_shows_matching_lines(served: Served, fleet: Fleet) -> None:
    """A live search gets its lines as rows, escaped, and no others."""
    after = write(fleet, "before")

    with events(f"{served.url}/logs/tail?q=needle&after={after}") as stream:
        write(fleet, "hay")
        write(fleet, "a needle <b>", "hay", severity=17)
        found = next(one for one in stream if one[2]["shown"])

    assert (found[2]["lines"], found[2]["errors"]) == (1, 1)
    assert "a needle &lt;b&gt;" in found[2]["html"]
    assert "hay" not in found[2]["html"]


def test_too_many_lines_are_counted(served: Served, fleet: Fleet) -> None:
    """When more arrive than can be shown, the event says how many were passed over."""
    after = write(fleet, "before")

    with events(f"{served.url}/logs/tail?q=flood&after={after}") as stream:
        write(fleet, *[f"flood {n}" for n in range(300)])
        data = next(one for one in stream if one[2]["lines"])[2]

    assert data["shown"] < 300
    assert data["shown"] + data["skipped"] == data["lines"] == 300


def test_a_killed_dashboard_loses_no_event(fleet: Fleet) -> None:
    """A browser that comes back to a new process gets every line committed meanwhile, once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    after = write(fleet, "before")
    path = "/logs/tail?q=counted"
    with serving(fleet.url, port) as first, events(f"{first.url}{path}&after={after}") as stream:
        write(fleet, "counted 1")
        seen = next(one for one in stream if one[2]["shown"])
    write(fleet, "counted 2", "counted 3")

    with serving(fleet.url, port) as second, events(f"{second.url}{path}", seen[0]) as stream:
        again = next(one for one in stream if one[2]["shown"])

    assert "counted 1" in seen[2]["html"]
    assert "counted 1" not in again[2]["html"]
    assert again[2]["lines"] == 2


def test_a_wrong_filter_is_refused(served: Served) -> None:
    """A live search whose filter cannot be read is refused with what is wrong."""
    answer = httpx.get(f"{served.url}/logs/tail", params={"q": "severity=>error"})

    assert answer.status_code == 400
    assert "column 9" in answer.text


def test_a_signal_ends_it_at_once(fleet: Fleet, tmp_path: Path) -> None:
    """SIGTERM ends the process with code 0 within seconds, also while somebody watches."""
    environment = {
        **os.environ, "OUTRIDER_DATABASE_URL": fleet.url, "OUTRIDER_INBOX": str(tmp_path)
    }  # fmt: skip
    command = [sys.executable, "-m", "outrider.command", "dashboard", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = said.removeprefix("dashboard: ").strip()
        with events(f"{url}live", last=0) as stream:
            next(stream)
            process.send_signal(signal.SIGTERM)
            code = process.wait(10)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    assert url.startswith("http://127.0.0.1:")
    assert code == 0
    assert "worker.stopped" in "".join(f.read_text() for f in tmp_path.glob("*.jsonl"))
