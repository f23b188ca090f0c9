"""`outrider up` and its children: what is started again, and what ends everything."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider_alerting import ready, rule_files
from outrider_alerting.plays import Play, Record
from outrider_collector.up.announce import announce_alerts
from outrider_collector.up.apply import changed
from outrider_collector.up.children import Child
from outrider_collector.up.demo_worker import is_outage, next_death_s
from outrider_collector.up.postgres import Postgres
from outrider_collector.up.postgres_keeper import PostgresKeeper

if TYPE_CHECKING:
    from collections.abc import Callable


def up(tmp_path: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run `outrider up` on a database until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "outrider.command", "up", "--data", str(tmp_path)],
        env={**os.environ, "OUTRIDER_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def configure(tmp_path: Path, ports: tuple[int, int], agent: str = "", collector: str = "") -> None:
    """Write the file of `outrider up` with ports of our own and a mistake."""
    (tmp_path / "outrider.toml").write_text(
        f'data_dir = "{tmp_path}"\n'
        f'[collector]\nlisten = "127.0.0.1:{ports[0]}"\n{collector}\n'
        f'[dashboard]\nlisten = "127.0.0.1:{ports[1]}"\n'
        f'[agent]\ncollectors = ["127.0.0.1:{ports[0]}"]\n'
        f'state_dir = "{tmp_path}/agent"\ninbox = "{tmp_path}/inbox"\n{agent}\n'
    )


def test_a_part_that_cannot_be_configured_ends_everything(
    database_url: str, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    """A mistake in the agent's table, found before anything starts: its message, and 2."""
    ports = (unused_tcp_port_factory(), unused_tcp_port_factory())
    configure(tmp_path, ports, agent="windw_bytes = 3")
    done = up(tmp_path, database_url)
    assert done.returncode == 2
    assert done.stderr.startswith("outrider: the agent cannot run: unknown key `agent.windw_bytes`")
    assert "did you mean `window_bytes`?" in done.stderr
    assert "outrider.toml:11: " in done.stderr
    assert "database" not in done.stdout


@pytest.mark.parametrize("part", ["collector", "dashboard"])
def test_an_impossible_port_is_said_before_anything_starts(tmp_path: Path, part: str) -> None:
    """Any part's address: a sentence with the key, and 2."""
    (tmp_path / "outrider.toml").write_text(
        f'data_dir = "{tmp_path}"\n[{part}]\nlisten = "127.0.0.1:99999"\n'
    )
    done = up(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 2
    assert done.stderr.startswith(f"outrider: the {part} cannot run: ")
    assert f"{part}.listen" in done.stderr
    assert "99999" in done.stderr


def test_an_agent_told_of_another_port_is_said(tmp_path: Path) -> None:
    """`up` names both addresses and the key; the agent may come by a way of its own."""
    (tmp_path / "outrider.toml").write_text(
        f'data_dir = "{tmp_path}"\n[collector]\nlisten = "127.0.0.1:4600"\n'
        '[agent]\ncollectors = ["127.0.0.1:4601"]\n'
    )
    done = up(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    assert "listens on 127.0.0.1:4600, and the agent looks for one on 127.0.0.1:4601" in done.stderr
    assert "correct `collectors` of [agent]" in done.stderr


def test_settings_for_another_directory_end_the_start(database_url: str, tmp_path: Path) -> None:
    """Commands with these settings would look elsewhere: 2, and the line to write."""
    (tmp_path / "outrider.toml").write_text('[collector]\nlisten = "127.0.0.1:0"\n')
    done = up(tmp_path, database_url)
    assert done.returncode == 2
    assert "these settings have no `data_dir`" in done.stderr
    assert f'write data_dir = "{tmp_path}"' in done.stderr


def test_an_agent_that_would_look_elsewhere_ends_the_start(tmp_path: Path) -> None:
    """A collector on a port of its own, and no word of it for the agent: 2, the line to write."""
    (tmp_path / "outrider.toml").write_text(
        f'data_dir = "{tmp_path}"\n[collector]\nlisten = "127.0.0.1:4600"\n'
    )
    done = up(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 2
    assert 'write collectors = ["127.0.0.1:4600"] under [agent]' in done.stderr


def test_the_first_part_that_cannot_be_configured_ends_everything(
    database_url: str, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    """A mistake in the collector's table ends the start with its message, and 2."""
    ports = (unused_tcp_port_factory(), unused_tcp_port_factory())
    configure(tmp_path, ports, collector='flush_interval = "x"')
    done = up(tmp_path, database_url)
    assert done.returncode == 2
    assert "the collector cannot run: `collector.flush_interval`: `x` is no" in done.stderr


def test_settings_that_no_command_would_find_are_told(
    database_url: str, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    """With a directory of its own, `up` says what commands and workers need; Ctrl-C is code 0."""
    configure(tmp_path, (unused_tcp_port_factory(), unused_tcp_port_factory()))
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", "outrider.command", "up", "--data", str(tmp_path)],
        env={**os.environ, "OUTRIDER_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    text = "".join(lines)
    assert f"export OUTRIDER_CONFIG={tmp_path}/outrider.toml " in text
    assert f"export OUTRIDER_INBOX={tmp_path}/inbox " in text
    assert "export OUTRIDER_DATABASE_URL=" in text
    assert "rules      not applied" not in text
    assert "applied    rule set 1: + rule " in text


def test_the_start_says_what_applying_the_rules_changed() -> None:
    """One line, with the names; nothing where nothing changed."""
    same: dict[str, Any] = {"version": 4, "added": [], "changed": [], "removed": []}
    assert changed(same) == []
    assert changed({**same, "added": ["a"], "changed": ["b"], "removed": ["c"]}) == [
        "  applied    rule set 4: + a, ~ b, - c"
    ]
    (many,) = changed({**same, "added": [f"r{n}" for n in range(30)]})
    assert many.endswith("+ r7 and 22 more")


def test_the_demo_pages_nobody_all_night() -> None:
    """The scraper dies within a minute of the start, and a few times on the first day."""
    deaths, running_s = [], 0.0
    while running_s < 24 * 3600:
        deaths.append(next_death_s(running_s))
        running_s = deaths[-1] + 15
    assert deaths[0] < 60
    assert deaths == sorted(set(deaths))
    assert len([death for death in deaths if death < 24 * 3600]) == 6


def test_each_outage_of_the_demo_is_one_alert_that_ends() -> None:
    """By the ready rules: the first within a minute, over within two, nothing that goes on."""
    play = Play(rule_files.read(ready.files()), 0)
    for half in range(2 * 2 * 3600):
        if is_outage(half / 2):
            failed = Record(half * 500_000, 17, "AddOrder answered 503", "trading", "orders",
                            error_code="EXCHANGE_UNAVAILABLE")  # fmt: skip
            play.happens(half // 2, [failed])
    play.settle(2 * 3600)

    told = [(t.rule, t.to_state, t.at_us // 1_000_000) for t in play.transitions]
    assert [state for _, state, _ in told] == ["firing", "resolved"] * 3
    assert {rule for rule, _, _ in told} == {"error-spike"}
    assert told[0][2] < 60 and told[1][2] < 120


async def test_a_child_is_started_again_unless_it_says_that_this_cannot_help(
    tmp_path: Path,
) -> None:
    """Exit code 1 twice and then 2: three starts, and the last words are told without prefix."""
    starts = tmp_path / "starts"
    script = (
        "import pathlib, sys\n"
        f"file = pathlib.Path({str(starts)!r})\n"
        "with file.open('a') as out: out.write('x')\n"
        "print('outrider: no such key', file=sys.stderr)\n"
        "sys.exit(2 if len(file.read_text()) == 3 else 1)\n"
    )
    told: list[str] = []
    unusable: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
    child = Child(
        "part", [sys.executable, "-c", script], tmp_path / "part.log", os.environ, told.append,
        on_unusable=unusable.set_result,
    )  # fmt: skip
    await child.start()
    try:
        async with asyncio.timeout(30):
            assert await unusable is child
    finally:
        await child.stop()
    assert starts.read_text() == "xxx"
    assert child.last_words() == "no such key"
    assert [line.partition(",")[0] for line in told] == ["part ended with exit code 1"] * 2


async def test_a_database_that_is_killed_is_started_again() -> None:
    """Killed, and then unable to start once: each is told with its reason, and it runs again."""
    home = Path(tempfile.mkdtemp(prefix="outrider-up-"))
    home.chmod(0o755)
    told: list[str] = []
    server = Postgres(home / "postgres", home / "run", {"fsync": "off"})
    keeper = PostgresKeeper(server, told.append)
    stop = asyncio.Event()
    try:
        await keeper.start()
        first = server.process
        assert first is not None
        announcing = asyncio.create_task(
            announce_alerts(server.url("postgres"), stop, lambda _: None)
        )
        server.settings["shared_buffers"] = "none"
        first.kill()
        async with asyncio.timeout(60):
            while len(told) < 2:
                await asyncio.sleep(0.02)
            del server.settings["shared_buffers"]
            while told[-1] != "Postgres runs again":
                await asyncio.sleep(0.02)
        async with await psycopg.AsyncConnection.connect(server.url("postgres")) as connection:
            await connection.execute("select 1")
        assert not announcing.done()
    finally:
        stop.set()
        await keeper.stop()
        shutil.rmtree(home, ignore_errors=True)
    await announcing
    assert told[0].startswith("Postgres ended with SIGKILL: ")
    assert told[1].startswith("Postgres did not start in ")
    assert server.process is None
