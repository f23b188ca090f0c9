"""The agent's probes: from its file to its heartbeats, its own log and its status."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from outrider import command
from outrider_agent import check, configuration
from outrider_agent.heartbeats import EVERYTHING_EVERY, Heartbeats
from outrider_agent.picture import Picture
from outrider_protos.v1 import ingest_pb2
from tests.agent.harness import Site
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector

DISK = """
[[agent.probe]]
name = "root"
kind = "disk"
warn_below_pct = 0
fail_below_pct = 0
every = "1s"
timeout = "1s"
"""

GONE = """
[[agent.probe]]
name = "gone"
kind = "command"
command = ["/bin/sh", "-c", "echo it is gone; exit 2"]
every = "1s"
timeout = "1s"
fall = 1
"""


def said(collector: FakeCollector) -> dict[str, str]:
    """The last state of each component that a collector was told."""
    return {
        component.name: component.state
        for heartbeat in collector.heartbeats
        for component in heartbeat.components
        if component.state
    }


async def test_what_probes_find_comes_with_heartbeats(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """State, reason and facts; what changes is a record of the agent's own log; a reload adds."""
    site = Site(tmp_path / "site", collector, source=DISK)
    async with site.agent() as agent:
        await eventually(lambda: said(collector).get("root") == "up")
        first = collector.heartbeats[0]
        assert first.all_components and [c.name for c in first.components] == ["root"]

        with site.config_file.open("a") as file:
            file.write(GONE)
        agent.reload(configuration.load(site.config_file, {}))
        await eventually(lambda: said(collector).get("gone") == "down")

        accounts = {account.name: account for account in agent._probing.accounts()}
        assert (accounts["gone"].state, accounts["gone"].reason) == ("down", "it is gone")
    disk = next(c for h in collector.heartbeats for c in h.components if c.state == "up")
    facts = {fact.name: fact.number for fact in disk.facts}
    assert facts["free_bytes"] > 0 and disk.kind == "probe" and disk.checked_us
    assert disk.next_within_ms == EVERYTHING_EVERY * 200

    records = b"".join(path.read_bytes() for path in site.inbox.rglob("*.jsonl"))
    assert b'"health.changed"' in records and b"gone is down, was not looked at" in records


def test_a_heartbeat_has_everything_now_and_then() -> None:
    """The first of a session and every sixth; the others ask for what is new."""
    asked: list[bool] = []

    def components(
        now_us: int, next_within_ms: int, *, everything: bool
    ) -> list[ingest_pb2.ComponentReport]:
        assert (now_us, next_within_ms) == (1_005, 60_000)
        asked.append(everything)
        return [ingest_pb2.ComponentReport(name="x")] if everything else []

    beats = Heartbeats(Picture, lambda: 1_000, lambda: 5, lambda: 10.0, components=components)
    made = [beats.make(number, stopping=False) for number in range(1, 9)]

    assert asked == [n in {1, 7} for n in range(1, 9)]
    assert [one.all_components for one in made] == asked
    assert [len(one.components) for one in made] == [int(is_all) for is_all in asked]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [('kind = "disk"', "blocked"), ('kind = "tls"\naddress = "shop.example:443"', "there")],
)
def test_tls_is_loaded_only_where_a_probe_needs_it(
    tmp_path: Path, kind: str, expected: str
) -> None:
    """The agent saves OpenSSL's memory, until a probe is configured that speaks TLS."""
    (tmp_path / "outrider.toml").write_text(f'[[agent.probe]]\nname = "x"\n{kind}\n')
    program = f"""
        from outrider_agent import cli, configuration
        cli._do_without_openssl()
        import asyncio
        from outrider_agent.probing import Probing
        from outrider_agent.reports import Reports
        config = configuration.load({str(tmp_path / "outrider.toml")!r}, {{}})
        Probing(config.probes, "h", Reports(), hurry=lambda: None)
        try:
            import ssl
            ssl.create_default_context()
            print("there")
        except ImportError:
            print("blocked")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_check_names_probes_and_tries_them_when_asked(tmp_path: Path) -> None:
    """Named without looking; with --probe each looks once, and what fails needs a hand."""
    file = tmp_path / "outrider.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n{DISK}{GONE}')
    config = configuration.load(file, {})
    named: list[str] = []
    assert check.run(config, named.append) == command.DONE
    assert "probe        gone: command, every 1 s\n" in "".join(named)

    tried: list[str] = []
    assert check.run(config, tried.append, probe=True) == command.FOUND
    text = "".join(tried)
    assert "probe        root: disk, every 1 s: up: " in text and "    free_pct = " in text
    assert "problem: probe gone: down: it is gone\n" in text
