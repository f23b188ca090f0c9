"""Workers that are retired on purpose: by the command line, over a real server and database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from outrider.configuration import ConfigError
from outrider.errors import Fault
from outrider_collector.store.reading.types import WorkerName
from outrider_collector.terminal import status
from outrider_collector.terminal.retire import full_name
from outrider_protos.v1 import ingest_pb2
from tests.collector.service.running import ask
from tests.collector.service.test_heartbeats import W1, Beats, states, worker
from tests.collector.store.making import now_us
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.service.running import Running

DIED = ingest_pb2.WORKER_END_DIED


@pytest.fixture
def configured(
    collector: Running, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line finds the collector."""
    file = tmp_path / "outrider.toml"
    file.write_text(
        f'data_dir = "{collector.config.data_dir}"\n[database]\nurl = "{database_url}"\n'
        f'[collector]\nlisten = "{collector.address}"\n'
    )
    monkeypatch.setenv("OUTRIDER_CONFIG", str(file))


async def until(url: str, state: str) -> None:
    """Wait until the worker is in a state."""
    await eventually(lambda: states(url).get(W1, ("", ""))[0] == state)


@pytest.mark.usefixtures("configured")
async def test_dead_worker_is_retired_until_it_shows_life(
    collector: Running, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What died before stays retired however often its agent repeats it; news of it counts."""
    beats = Beats(await collector.agent())
    died_us = now_us() - 60_000_000
    dead = worker(end=DIED, ended_us=died_us)
    await beats.beat(dead)
    await until(database_url, "dead")
    for said in ("is retired", "was retired before"):
        assert await asyncio.to_thread(status.workers, ["retire", W1]) == 0
        assert f"{W1} {said}" in capsys.readouterr().out
    assert states(database_url)[W1][1].startswith("retired by ")
    quiet = worker(end=ingest_pb2.WORKER_END_UNSPECIFIED)
    for number, same in enumerate((dead, quiet)):
        # The newcomer shows when the heartbeat was stored.
        await beats.beat(same, worker(f"new{number}"))
        await eventually(lambda: f"payments/new{number}@test-host" in states(database_url))  # noqa: B023
        assert states(database_url)[W1][0] == "retired"

    await beats.beat(worker())
    await until(database_url, "up")
    with pytest.raises(Fault, match="is up: stop it"):
        await asyncio.to_thread(status.workers, ["retire", W1])
    await beats.beat(worker(end=DIED, ended_us=now_us()))
    await until(database_url, "dead")
    history = ask(
        database_url,
        "select to_state from system_health_history where component = %s order by id", W1,
    )  # fmt: skip
    assert [state for (state,) in history] == ["dead", "retired", "up", "dead"]


@pytest.mark.usefixtures("configured")
async def test_crash_right_after_a_clean_end_is_news(collector: Running, database_url: str) -> None:
    """A worker that ended cleanly, started again and died between two heartbeats is dead."""
    beats = Beats(await collector.agent())
    await beats.beat(worker(end=ingest_pb2.WORKER_END_CLEAN, ended_us=now_us() - 1_000_000))
    await until(database_url, "retired")
    await beats.beat(worker(end=DIED, ended_us=now_us() + 1_000))
    await until(database_url, "dead")


@pytest.mark.usefixtures("configured")
async def test_unknown_worker_cannot_be_retired() -> None:
    """A name that nobody has is said, with where names are."""
    with pytest.raises(Fault, match="no worker x: list them"):
        await asyncio.to_thread(status.workers, ["retire", "x"])


NAMES = [WorkerName("s", "w1", "h"), WorkerName("s", "w2", "h"), WorkerName("s", "w2", "other")]


@pytest.mark.parametrize("asked", ["s/w1@h", "s/w1", "w1@h", "w1"])
def test_less_than_the_whole_name_is_enough_for_one_worker(asked: str) -> None:
    """Whatever part of it was typed."""
    assert full_name(asked, NAMES) == "s/w1@h"


def test_a_name_of_several_or_of_nobody_is_answered_with_names() -> None:
    """All that it could be, or the nearest that there is."""
    with pytest.raises(ConfigError, match="2 workers are w2: s/w2@h, s/w2@other: write one"):
        full_name("w2", NAMES)
    with pytest.raises(Fault, match="there is no worker s/w3@h: did you mean 's/w"):
        full_name("s/w3@h", NAMES)
    assert full_name("zebra", NAMES) == "zebra"
