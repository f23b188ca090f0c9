"""Files that are renamed, truncated or deleted, with an agent and without: every line once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outrider_agent import endings, state
from tests.agent.harness import Site, looked_anew, numbered, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from outrider_agent.agent import Agent
    from tests.agent.fake_collector import FakeCollector


def held_ends(agent: Agent, worker: str) -> list[bool]:
    """For each unacknowledged batch of a worker, whether it ends its stream."""
    chains = agent._delivery._chains.values()
    return [b.final for c in chains if c.stream.worker == worker for b in c.batches]


async def test_rename_and_create_loses_nothing(tmp_path: Path, collector: FakeCollector) -> None:
    """Lines written before, during and after rotation by rename are all stored."""
    site = Site(tmp_path, collector)
    old = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        for part in range(1, 4):
            with old.open("a") as held:
                old.rename(old.with_name(f"a.log.{part}"))
                held.write(numbered(part * 100, part * 100 + 5))
            site.write("a.log", numbered(part * 1000, part * 1000 + 5))
            await collector.until_rows(10 + part * 10)

    wanted = [*range(10)]
    for part in range(1, 4):
        wanted += [*range(part * 100, part * 100 + 5), *range(part * 1000, part * 1000 + 5)]
    assert sorted(numbers(collector)) == sorted(wanted)
    assert collector.database.gaps == {}


async def test_a_files_name_is_text_whatever_it_is(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Names with spaces of other scripts, newlines and escapes are followed, shown as escapes."""
    site = Site(tmp_path, collector)
    for name in ("a\u00a0b.log", "e\u3000\u200d.log", "new\nline\x1b[31m.log", "bad\udcff.log"):
        site.write(name, "line\n")
    async with site.agent():
        await collector.until(lambda: collector.database.messages().count("line") == 4)

    shown = [s.info.path for s in collector.database.streams.values() if s.info.service == "bots"]
    assert all(path.isprintable() for path in shown)
    assert any(path.endswith(r"new\nline\x1b[31m.log") for path in shown)


async def test_truncation_is_a_gap_and_the_rest_arrives(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A truncated file ends its stream with a gap, and what it holds then is a new stream."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 100))
    async with site.agent():
        await collector.until_rows(100)
        path.write_text("new\n")
        await collector.until(lambda: "new" in collector.database.messages())
        await collector.until(lambda: len(collector.database.gaps) == 1)

    ((_, gap),) = collector.database.gaps.values()
    assert (gap.reason, gap.at_least, len(gap.gap_id)) == ("truncated", True, 16)
    assert [s.closed for s in collector.database.streams.values() if s.info.service == "bots"] == [
        True,
        False,
    ]


async def test_a_file_regrown_past_the_old_offset_is_noticed(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Truncated and filled again beyond where it was read: size alone would not tell."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        draft = path.with_suffix(".draft")
        draft.write_text(numbered(500, 600))
        with draft.open("rb") as source, path.open("r+b") as target:
            target.write(source.read())
        await collector.until_rows(110)

    assert collector.database.messages()[10:] == [f"line {n}" for n in range(500, 600)]
    assert len(collector.database.gaps) == 1


async def test_a_file_rotated_while_the_agent_was_down_is_found(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Renamed out of the globs in the agent's absence: found beside its old place, by its bytes."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    site.write("a.log", numbered(10, 20))
    path.rename(path.with_name("a.log.1"))
    site.write("a.log", numbered(20, 30))
    async with site.agent():
        await collector.until_rows(30)

    wanted = [f"line {n}" for n in range(30)]
    assert sorted(map(str, collector.database.messages())) == sorted(wanted)
    assert collector.database.gaps == {}


@pytest.mark.parametrize(
    ("lines_after", "replayed"),
    [(40, False), (70, True), (100, True)],
    ids=["less", "more", "same"],
)
async def test_repeated_lines_written_anew_while_the_agent_was_down_arrive(
    tmp_path: Path, collector: FakeCollector, lines_after: int, replayed: bool
) -> None:
    """Where the bytes read look like those before, size and time still tell; in doubt: replayed."""
    site = Site(tmp_path, collector)
    stored = 60 if lines_after == 70 else 100
    path = site.write("a.log", "the same line\n" * stored)
    async with site.agent():
        await collector.until_rows(stored)
        if stored < 100:
            # The rest is seen and not stored; what is there afterwards reaches into it.
            collector.acknowledge = False
            before = len(collector.batches)
            site.write("a.log", "the same line\n" * (100 - stored))
            await collector.until(lambda: any(b.record_count for b in collector.batches[before:]))
    collector.acknowledge = True
    path.write_text("the same line\n" * lines_after)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    async with site.agent():
        await collector.until_rows(stored + lines_after)

    assert {row.replayed for row in collector.database.rows[stored:]} == {replayed}
    ((_, gap),) = collector.database.gaps.values()
    assert gap.reason == "truncated"


async def test_repeated_lines_of_another_file_are_not_taken_for_a_lost_ones(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A new file with the same lines as one that went is read from its beginning."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "the same line\n" * 100)
    async with site.agent():
        await collector.until_rows(100)
    site.write("b.log", "the same line\n" * 120)
    path.unlink()
    async with site.agent():
        await collector.until_rows(220)

    assert [s.info.worker for s in collector.database.streams.values() if not s.closed][-1] == "b"
    ((_, gap),) = collector.database.gaps.values()
    assert gap.reason == "vanished"


async def test_a_file_that_vanished_while_the_agent_was_down_is_a_gap(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What can be read nowhere any more is said, once, even when the answer to it gets lost."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    site.write("a.log", numbered(10, 20))
    path.unlink()
    collector.acknowledge = False
    async with site.agent():
        await collector.until(lambda: any(batch.gaps for batch in collector.batches))
    collector.acknowledge = True
    async with site.agent():
        await collector.until(lambda: bool(collector.database.gaps))

    ((_, gap),) = collector.database.gaps.values()
    assert (gap.reason, gap.at_least) == ("vanished", True)
    told = {one.gap_id for batch in collector.batches for one in batch.gaps}
    assert told == {gap.gap_id}


async def test_a_deleted_file_is_read_to_its_end(tmp_path: Path, collector: FakeCollector) -> None:
    """A file deleted while open loses nothing."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        with path.open("a") as held:
            path.unlink()
            held.write(numbered(10, 20))
            held.flush()
            await collector.until_rows(20)

    assert collector.database.gaps == {}


async def test_a_file_that_lived_only_during_an_outage_arrives(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written and deleted while no collector was there: every line, and the stream's end."""
    monkeypatch.setattr(endings, "QUIET_S", 0.5)
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent() as agent:
        await collector.until_rows(10)
        port = collector.port
        await collector.stop()
        path = site.write("b.log", numbered(10, 20))
        await collector.until(lambda: held_ends(agent, "b") == [False])
        path.unlink()
        await collector.until(lambda: held_ends(agent, "b") == [False, True])
        await collector.start(port)
        await collector.until(lambda: held_ends(agent, "b") == [])

    assert collector.database.messages() == [f"line {n}" for n in range(20)]
    assert collector.database.gaps == {}
    closed = {s.info.worker: s.closed for s in collector.database.streams.values()}
    assert (closed["a"], closed["b"]) == (False, True)


async def test_a_lost_answer_to_a_files_end_is_settled(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that was closed without the agent hearing of it is closed there too, once."""
    monkeypatch.setattr(endings, "QUIET_S", 0.5)
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent() as agent:
        await collector.until_rows(10)
        (stored,) = (s for s in collector.database.streams.values() if s.info.service == "bots")
        await collector.until(lambda: held_ends(agent, "a") == [])
        collector.lose_answers = True
        path.unlink()
        await collector.until(lambda: stored.closed)
        port = collector.port
        await collector.stop()
        collector.lose_answers = False
        await collector.start(port)
        await collector.until(lambda: len(collector.hellos) == 2)
        await collector.until(lambda: held_ends(agent, "a") == [])

    assert collector.database.messages() == [f"line {n}" for n in range(10)]
    assert collector.database.gaps == {}


async def test_the_cache_forgets_streams_that_are_no_more(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The cache names living streams only, and loses none while no collector is there."""
    site = Site(tmp_path, collector)
    site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    cache = site.state_dir / "cache.json"
    (bots,) = (n for n, s in collector.database.streams.items() if s.info.service == "bots")
    content = state.load(cache)
    assert (content.acknowledged[bots], content.sizes[bots]) == (70, 70)
    content.acknowledged[4711] = 10
    state.save(cache, content)
    port = collector.port
    await collector.stop()
    async with site.agent() as agent:
        await looked_anew(agent)
    kept = state.load(cache)
    assert (kept.acknowledged, kept.sizes) == (content.acknowledged, content.sizes)

    await collector.start(port)
    async with site.agent():
        site.write("a.log", numbered(10, 11))
        await collector.until_rows(11)
    after = state.load(cache)
    assert after.acknowledged[bots] == 78
    assert set(after.acknowledged) <= set(collector.database.streams)
