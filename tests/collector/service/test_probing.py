"""The collector's own probes: into the same tables, and databases by themselves."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider.configuration import ConfigError
from outrider.probes.look import look
from outrider_collector import config
from outrider_collector.store import database_probe
from tests.collector.service.running import ask
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outrider.probes.spec import Spec
    from tests.collector.service.conftest import Start

HOST = socket.gethostname()


def read(tmp_path: Path, url: str, text: str) -> tuple[Spec[Any], ...]:
    """Read the probes of a collector's file."""
    file = tmp_path / "outrider.toml"
    file.write_text(text)
    return config.load(file, {"OUTRIDER_DATABASE_URL": url}).probes


def postgres(tmp_path: Path, url: str, more: str = "") -> Spec[Any]:
    """A probe of the collector's own database."""
    text = f'[[collector.probe]]\nkind = "postgres"\ntimeout = "2s"\n{more}\n'
    return read(tmp_path, url, text)[0]


def states(url: str) -> dict[str, str]:
    """The state of what the tests' collectors are told to look at."""
    rows = ask(
        url,
        "select component, state from system_health where agent is null"
        " and component_kind in ('probe', 'database')",
    )
    return dict(rows)


async def test_a_collectors_probes_are_components(
    start: Start, database_url: str, tmp_path: Path
) -> None:
    """Its database and its disk are there; what it looks at no more retires at its next start."""
    text = """
        [[collector.probe]]
        kind = "postgres"
        every = "1s"
        timeout = "1s"
        [[collector.probe]]
        kind = "disk"
        name = "root"
        every = "1s"
        timeout = "1s"
        fail_below_pct = 0
        warn_below_pct = 0
    """
    database, disk = f"postgres@{HOST}", f"root@{HOST}"
    probes = read(tmp_path, database_url, text)
    one = await start(name="hub", probes=probes)
    await eventually(lambda: states(database_url) == {database: "up", disk: "up"})
    ((kind, facts),) = ask(
        database_url,
        "select component_kind, gauges from heartbeats where component = %s", database,
    )  # fmt: skip
    assert kind == "database" and facts["connections"] >= 1 and facts["database_bytes"] > 0
    await one.end()

    await start(name="hub", probes=(probes[0], *probes[2:]))
    await eventually(lambda: states(database_url) == {database: "up", disk: "retired"})


def test_a_database_says_what_will_soon_be_wrong(tmp_path: Path, database_url: str) -> None:
    """Connections, an old transaction, its size, a partition that nobody made."""

    def found(more: str = "") -> tuple[str, str]:
        result = look(postgres(tmp_path, database_url, more))
        return result.state, result.reason

    assert found() == ("up", "answers")
    assert found("connections_pct = 0.001")[0] == "degraded"
    assert "more than 1" in found("size_bytes = 1")[1]
    assert found('partitions = ["blocks_fresh"]') == ("up", "answers")
    state, reason = found('partitions = ["blocks_fresh"]\nahead = "300d"')
    assert state == "degraded" and reason.startswith("blocks_fresh has no partition")
    assert found('partitions = ["nothing"]')[0] == "degraded"

    with psycopg.connect(database_url) as connection:
        connection.execute("select 1")
        state, reason = found('oldest_transaction = "1ms"')
    assert state == "degraded" and reason.startswith("a transaction has been open")


def test_a_database_that_is_not_there_is_down(tmp_path: Path, database_url: str) -> None:
    """Refused, unknown, or a URL whose file is missing; a password is never told."""
    gone = postgres(tmp_path, "postgresql://me:secret@127.0.0.1:1/x")
    result = look(gone)
    assert result.state == "down" and "refused" in result.reason.lower()
    assert "secret" not in result.reason

    nobody = psycopg.conninfo.make_conninfo(database_url, dbname="nowhere")
    assert look(postgres(tmp_path, nobody)).state == "down"

    missing = postgres(tmp_path, database_url, f'url_file = "{tmp_path}/none"')
    assert look(missing).state == "unknown"


@pytest.fixture
def frozen() -> Iterator[int]:
    """The port of what takes connections and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_database_that_says_nothing_holds_no_thread(tmp_path: Path, frozen: int) -> None:
    """It is down after the timeout, give or take libpq's whole seconds."""
    spec = postgres(tmp_path, f"postgresql://127.0.0.1:{frozen}/x")
    done = threading.Event()
    results: list[Any] = []

    def body() -> None:
        results.append(look(replace(spec, timeout_s=1.0)))
        done.set()

    threading.Thread(target=body, daemon=True).start()
    assert done.wait(60)
    assert results[0].state == "down"


def test_one_that_freezes_after_the_connection_is_cut_off(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that never ends is ended by the deadline."""
    monkeypatch.setattr(
        database_probe, "_seen", lambda connection: connection.execute("select pg_sleep(600)")
    )
    spec = replace(postgres(tmp_path, database_url), timeout_s=1.0)

    result = look(spec)
    assert (result.state, result.reason) == ("down", "no answer within 1 s")


def test_mistakes_are_named(tmp_path: Path, database_url: str) -> None:
    """As an agent's are."""
    with pytest.raises(
        ConfigError, match=r"collector.probe.0..*`url`.*no Postgres URL|no Postgres"
    ):
        postgres(tmp_path, database_url, 'url = "mysql://x"')
    with pytest.raises(ConfigError, match="leave one of them out"):
        postgres(tmp_path, database_url, 'url = "postgresql://x"\nurl_file = "/x"')
