"""Starting a collector where it cannot run, as a user meets it: real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.collector.service.running import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.service.running import Running


def outrider_collector(tmp_path: Path, url: str, port: int) -> subprocess.Popen[str]:
    """Start `outrider collector run`."""
    file = tmp_path / "outrider.toml"
    file.write_text(
        f'data_dir = "{tmp_path}"\n[database]\nurl = "{url}"\n'
        f'[collector]\nlisten = "127.0.0.1:{port}"\n'
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OUTRIDER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "outrider.command", "collector", "--config", str(file), "run"],
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "OUTRIDER_INBOX": str(tmp_path / "inbox")},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what it said, which is never a traceback."""
    try:
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "Traceback" not in said
    return process.returncode, said


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """Read standard error until a line has the words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(words)


def test_port_in_use_is_a_message_and_exit_2(tmp_path: Path, database_url: str) -> None:
    """The address that is taken is named, with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = ended(outrider_collector(tmp_path, database_url, port))

    assert code == 2
    assert f"127.0.0.1:{port}" in said
    assert "collector.listen" in said


@pytest.mark.parametrize("change", [{"dbname": "nowhere"}, {"user": "nobody_at_all"}])
def test_wrong_database_url_is_a_message_and_exit_2(
    tmp_path: Path, postgres_url: str, change: dict[str, str]
) -> None:
    """A database or user that does not exist is not waited for."""
    url = psycopg.conninfo.make_conninfo(postgres_url, **change)
    code, said = ended(outrider_collector(tmp_path, url, 0))

    assert code == 2
    assert next(iter(change.values())) in said


def test_schema_that_is_not_current_is_a_message_and_exit_2(
    tmp_path: Path, postgres_url: str
) -> None:
    """An empty database is not migrated behind the operator's back."""
    code, said = ended(outrider_collector(tmp_path, postgres_url, 0))

    assert code == 2
    assert "outrider store migrate" in said


def test_database_that_is_down_is_waited_for(tmp_path: Path) -> None:
    """Nothing listens at the URL: the collector says so, waits, and stops when told."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://x@127.0.0.1:{nobody.getsockname()[1]}/x"
        process = outrider_collector(tmp_path, url, 0)
        assert "agents keep their data" in line_with(process, "cannot reach the database")
        process.send_signal(signal.SIGTERM)
        code, _ = ended(process)

    assert code == 0


def test_sigterm_ends_a_collector_in_order(tmp_path: Path, database_url: str) -> None:
    """A collector that is told to stop exits with 0 within seconds and says so in its row."""
    process = outrider_collector(tmp_path, database_url, 0)
    line_with(process, "serves on")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)

    assert (code, "stopped" in said) == (0, True)
    assert time.monotonic() - began < 10
    assert ask(database_url, "select stopped_at is not null from collectors") == [(True,)]


async def test_health_service_tells_serving_and_stopping(collector: Running) -> None:
    """grpc.health.v1 needs no token, says SERVING, and NOT_SERVING once a stop has begun."""
    async with grpc.aio.insecure_channel(collector.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service="outrider.v1.IngestService"))
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
        collector.stop.set()
        assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        call.cancel()
    await collector.task
