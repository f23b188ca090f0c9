"""Crashes, damaged state and full disks: what is on the disk decides, and nobody has to help."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outrider_agent.agent import DRAIN_S
from tests.agent.harness import Site, numbered, open_files
from tests.agent.sdk_workers import worker
from tests.small_disk import small_disk as mounted
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.agent.fake_collector import FakeCollector


def has_read(collector: FakeCollector) -> bool:
    """Whether the agent has said that it read a line of a log file."""
    workers = [w for beat in collector.heartbeats for w in beat.workers if w.service == "bots"]
    return any(worker.last_line_us for worker in workers)


async def test_a_line_that_was_half_written_at_a_restart_is_one_line(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Bytes without their newline are not sent before it comes, whoever reads them then."""
    site = Site(tmp_path, collector)
    site.write("a.log", "whole\nhal")
    async with site.agent():
        await collector.until_rows(1)
    site.write("a.log", "f")
    async with site.agent():
        site.write("a.log", "\nnext\n")
        await collector.until_rows(3)

    assert collector.database.messages() == ["whole", "half", "next"]


async def test_a_giant_line_is_cut_and_what_follows_it_arrives(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A line of 5 MiB costs its own end and nothing else; its length is kept beside it."""
    site = Site(tmp_path, collector)
    site.write("a.log", "before\n" + "x" * (5 << 20) + "\nafter\n")
    async with site.agent():
        await collector.until_rows(3)

    before, giant, after = collector.database.rows
    assert (before.message, after.message) == ("before", "after")
    assert giant.message == "x" * (256 << 10)
    assert f'"original_bytes":{5 << 20}' in (giant.attributes or "")


async def test_a_poisonous_line_harms_no_neighbour(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """NUL, bytes that are no UTF-8, lone surrogates, numbers beyond all limits: kept and marked."""
    site = Site(tmp_path, collector)
    poison = [
        b'{"message":"a\\u0000b"}', b"nul \0 byte", b"\xff\xfe\x80", b'{"message":"\\ud800"}',
        b'{"message":"n","n":1e99999}', b'{"message":', b"[" * 5000, b'{"ts":"99999-01-01"}',
    ]  # fmt: skip
    for line in poison:
        site.write("a.log", line + b"\nneighbour\n")
    async with site.agent():
        await collector.until_rows(2 * len(poison))

    assert collector.database.messages()[1::2] == ["neighbour"] * len(poison)


@pytest.mark.parametrize("name", ["journal", "cache.json", "identity/token", "identity/settled"])
@pytest.mark.parametrize("damage", ["empty", "zeros", "junk", "half"])
async def test_a_damaged_state_file_needs_nobody(
    tmp_path: Path, collector: FakeCollector, name: str, damage: str
) -> None:
    """Torn, zeroed or overwritten: the agent starts, and no line is lost or stored twice."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    path = site.state_dir / name
    before = path.read_bytes()
    made = {"empty": b"", "zeros": bytes(len(before)), "junk": b"\xff\n\x00{" * 50}
    path.write_bytes(made.get(damage, before[: len(before) // 2]))
    site.write("a.log", numbered(10, 20))
    async with site.agent():
        # Without its token it is another agent to the collector, which reads from the beginning.
        again = 10 if name == "identity/token" else 0
        await collector.until(lambda: len(collector.database.rows) >= 20 + again)

    assert collector.database.messages()[again:][-20:] == [f"line {n}" for n in range(20)]


async def test_a_damaged_token_is_said(tmp_path: Path, collector: FakeCollector) -> None:
    """The agent says that it enrols anew, and why; without the secret it says what it lacks."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    token = site.state_dir / "identity" / "token"
    token.parent.mkdir(parents=True)
    token.write_bytes(b"\xff\xfe\x00" * 20)
    secret = tmp_path / "enrol.token"
    secret.rename(tmp_path / "elsewhere")
    async with site.agent():
        await collector.until(lambda: any("not enrolled" in line for line in site.said))
        (tmp_path / "elsewhere").rename(secret)
        await collector.until_rows(10)

    (said,) = [line for line in site.said if "is damaged" in line]
    assert str(token) in said
    assert token.read_text().strip() in collector.database.tokens


async def test_a_secret_that_is_no_text_is_said(tmp_path: Path, collector: FakeCollector) -> None:
    """A file with other characters than a token has enrols nobody, and is no bug of the agent."""
    site = Site(tmp_path, collector)
    secret = tmp_path / "enrol.token"
    text = secret.read_text()
    secret.write_text("caf\u00e9 \x01")
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until(lambda: any("not enrolled" in line for line in site.said))
        secret.write_text(text)
        await collector.until_rows(10)

    assert not any("bug" in line for line in site.said)


async def test_a_stop_without_a_collector_is_quick_and_loses_nothing(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Told to stop while nobody takes anything, it ends in time; the next run sends all."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        collector.acknowledge = False
        site.write("a.log", numbered(10, 50_000))
        before = len(collector.batches)
        await collector.until(lambda: len(collector.batches) > before)
        began = time.monotonic()
    assert time.monotonic() - began < 2 * DRAIN_S + 1
    collector.acknowledge = True
    async with site.agent():
        await collector.until_rows(50_000)

    assert collector.database.messages() == [f"line {n}" for n in range(50_000)]


async def test_a_stop_delivers_what_was_read(tmp_path: Path, collector: FakeCollector) -> None:
    """What was read and waited to be sent is acknowledged before the agent ends."""
    collector.settings.flush_interval_ms = 60_000
    site = Site(tmp_path, collector)
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        site.write("a.log", numbered(0, 10))
        await collector.until(lambda: has_read(collector))
        assert collector.database.rows == []

    assert len(collector.database.rows) == 10


async def test_a_single_line_waits_for_no_other(tmp_path: Path, collector: FakeCollector) -> None:
    """The last line of a file arrives as soon as its newline is there."""
    site = Site(tmp_path, collector)
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        site.write("a.log", "only\n")
        await collector.until(lambda: collector.database.messages() == ["only"], timeout_s=5)


async def test_a_source_that_is_configured_no_more_is_read_to_its_end(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What was not delivered of a file when its source went out of the configuration arrives."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    site.write("a.log", numbered(10, 20))
    text = site.config_file.read_text().replace("/*.log", "/*.other")
    site.config_file.write_text(text)
    async with site.agent():
        await collector.until_rows(20)

    assert collector.database.gaps == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with mounted(tmp_path / "small", "1m") as path:
        yield path


def fill(path: Path) -> None:
    """Write a file until there is no room for another page."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def test_a_full_disk_under_the_state_stops_nothing_that_is_followed(
    tmp_path: Path, small_disk: Path, collector: FakeCollector
) -> None:
    """Followed files are read while the state has no room; new ones begin when there is some."""
    site = Site(tmp_path, collector, agent=f'state_dir = "{small_disk}/agent"')
    site.state_dir = small_disk / "agent"
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        ballast = small_disk / "ballast"
        fill(ballast)
        site.write("a.log", numbered(10, 20))
        await collector.until_rows(20)
        for n in range(40):
            site.write(f"b{n}.log", f"new {n}\n")
        os.truncate(site.logs / "a.log", 0)
        site.write("a.log", "again\n")
        await collector.until(lambda: any("free space" in said for said in site.said))
        ballast.unlink()
        await collector.until_rows(61)
        await collector.until(lambda: bool(collector.database.gaps))


async def test_an_agent_that_nobody_can_hear_goes_on(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """With standard error on a full disk it has something to say, and reads on."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    site = Site(tmp_path, collector)
    first = "127.0.0.1:1"  # where nobody listens: that is said
    text = site.config_file.read_text().replace("collectors = [", f'collectors = ["{first}", ')
    site.config_file.write_text(text)
    site.write("a.log", numbered(0, 10))
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        agent = subprocess.Popen(
            [sys.executable, "-m", "outrider.command", "agent", "--config", site.config_file],
            stderr=full,
        )
    try:
        await collector.until_rows(10)
        assert agent.poll() is None
    finally:
        agent.kill()
        agent.wait()


async def test_an_agent_starts_anew_on_a_full_disk(
    tmp_path: Path, small_disk: Path, collector: FakeCollector
) -> None:
    """It goes on where it was; new files begin when there is room, and no line comes twice."""
    site = Site(tmp_path, collector, agent=f'state_dir = "{small_disk}/agent"')
    site.state_dir = small_disk / "agent"
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    ballast = small_disk / "ballast"
    fill(ballast)
    site.write("a.log", numbered(10, 20))
    async with site.agent():
        await collector.until_rows(20)
        for n in range(40):
            site.write(f"b{n}.log", f"new {n}\n")
        await collector.until(lambda: any("free space" in said for said in site.said))
        ballast.unlink()
        await collector.until_rows(60)
    async with site.agent():
        site.write("b0.log", "more\n")
        await collector.until_rows(61)

    assert collector.database.gaps == {}


IN_A_FULL_INBOX = """
import sys, outrider
outrider.init(service="pay", worker=sys.argv[1])
log = outrider.get_logger("pay")
for n in range(int(sys.argv[2])):
    log.info("y" * 200, n=n)
print("ready", flush=True)
for n in range(len(sys.stdin.read())):
    log.info("later", n=n)
"""


async def test_a_full_inbox_costs_no_count(
    tmp_path: Path, small_disk: Path, collector: FakeCollector
) -> None:
    """Full from the start: who ends before there is room is a gap of an unknown number, who goes
    on when there is some tells how many it was.
    """
    site = Site(tmp_path, collector, agent=f'inbox = "{small_disk}/inbox"\nretire_after_s = 1')
    config = site.config_file.read_text().replace(f'inbox = "{site.inbox}"\n', "", 1)
    site.config_file.write_text(config)
    inbox = small_disk / "inbox"
    inbox.mkdir()

    def gaps(name: str) -> list[tuple[int, bool]]:
        found = collector.database.gaps.values()
        return [
            (gap.records, gap.at_least)
            for stream, gap in found
            if collector.database.streams[stream].info.worker == name
        ]

    async with site.agent():
        await collector.until(lambda: bool(collector.database.own_rows))
        fill(small_disk / "ballast")
        ended = worker(inbox, IN_A_FULL_INBOX, "ended", "50", stderr=subprocess.PIPE)
        _, told = ended.communicate()
        goes_on = worker(inbox, IN_A_FULL_INBOX, "goes-on", "50")
        await collector.until(lambda: gaps("ended") == [(0, True)])
        (small_disk / "ballast").unlink()
        goes_on.communicate("x" * 20)
        await collector.until(lambda: collector.database.messages().count("later") == 20)
        await collector.until(lambda: gaps("goes-on") == [(51, False)])

    assert told.count("outrider: record not written") == 1
    assert gaps("ended") == [(0, True)]


async def test_an_outage_of_any_length_ends_with_all_lines(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """No retry is the last one: files rotated and deleted during the outage arrive after it."""
    site = Site(tmp_path, collector, agent="window_bytes = 1048576")
    site.write("a.log", numbered(0, 10))
    path = site.logs / "a.log"
    async with site.agent():
        await collector.until_rows(10)
        await collector.stop()
        for part in range(1, 6):
            site.write("a.log", numbered(part * 20_000, part * 20_000 + 20_000))
            await eventually(lambda: str(path) in open_files())
            rotated = path.rename(path.with_name(f"a.log.{part}"))
            site.write("a.log", "")
            await eventually(lambda: str(path) in open_files())
            rotated.unlink()
        await collector.start(collector.port)
        await collector.until_rows(100_010, timeout_s=40)

    assert collector.database.gaps == {}


async def test_equal_lines_are_all_stored(tmp_path: Path, collector: FakeCollector) -> None:
    """Ten thousand equal lines are ten thousand records, a lost answer included."""
    site = Site(tmp_path, collector)
    collector.lose_answers = True
    site.write("a.log", "equal\n" * 10_000)
    async with site.agent():
        await collector.until(lambda: bool(collector.database.rows))
        collector.lose_answers = False
        await collector.stop()
        await collector.start(collector.port)
        await collector.until_rows(10_000)

    assert set(collector.database.messages()) == {"equal"}
