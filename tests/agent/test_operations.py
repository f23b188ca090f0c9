"""What an operator asks and does: status, explain, reload."""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from outrider import command
from outrider.configuration import ConfigError
from outrider_agent import agent as agent_module
from outrider_agent import check, cli, configuration, control, explain, state, status
from outrider_agent.reports import Reports
from tests.agent.harness import Site
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from outrider_agent.account import Account
    from tests.agent.fake_collector import FakeCollector


def loaded(site: Site) -> configuration.Configuration:
    """The site's configuration as the commands read it."""
    return configuration.load(site.config_file, {})


async def explained(site: Site, path: Path) -> tuple[int, str]:
    """What `explain` prints about a file, while the agent runs in this process."""
    said: list[str] = []
    code = await asyncio.to_thread(explain.run, loaded(site), str(path), said.append)
    return code, "".join(said)


async def not_followed(site: Site, path: Path) -> bool:
    """Whether `explain` finds that nobody reads a file."""
    return (await explained(site, path))[0] != command.DONE


@contextlib.asynccontextmanager
async def reloadable(site: Site) -> AsyncIterator[asyncio.Event]:
    """Run the agent as the command does; gives what SIGHUP sets."""
    stop, hangup = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(
        agent_module.run(
            loaded(site),
            Reports(write=site.said.append),
            stop,
            hangup=hangup,
            reread=lambda: loaded(site),
        )
    )
    try:
        yield hangup
    finally:
        stop.set()
        await running


async def test_status_tells_files_backlog_and_collector(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """One question shows what is followed, how far behind it is and who takes it."""
    site = Site(tmp_path, collector)
    site.write("a.log", "2026-11-24 20:02:31,123 - pay - ERROR - no\n" * 10)
    site.write("b.log", "half a line")
    async with site.agent():
        await collector.until_rows(10)
        said: list[str] = []
        await asyncio.to_thread(status.run, loaded(site), said.append, json=True)
        document = msgspec.json.decode("".join(said))
        people: list[str] = []
        code = await asyncio.to_thread(status.run, loaded(site), people.append, json=False)

    assert document["running"] is True
    assert document["pid"] == os.getpid()
    assert document["collector"] == collector.address
    assert document["backlog_bytes"] >= len("half a line")
    files = {os.path.basename(one["path"]): one for one in document["files"]}  # noqa: PTH119
    assert files["b.log"]["unfinished_bytes"] == len("half a line")
    assert "fits 10 of 10 lines" in files["a.log"]["format"]
    assert code == command.DONE
    assert f"collector    {collector.address}\n" in "".join(people)


async def test_status_tells_what_a_source_gave_up(tmp_path: Path, collector: FakeCollector) -> None:
    """Records that were dropped are a finding, with their number."""
    collector.acknowledge = False
    site = Site(tmp_path, collector, source="backlog_bytes = 1000", agent="window_bytes = 1048576")
    site.write("a.log", "line\n" * 400_000)
    async with site.agent():
        await collector.until(lambda: any("bytes wait in the files" in line for line in site.said))
        collector.acknowledge = True
        port = collector.port
        await collector.stop()
        await collector.start(port)
        await collector.until(lambda: bool(collector.database.gaps))
        people: list[str] = []
        code = await asyncio.to_thread(status.run, loaded(site), people.append, json=False)

    dropped = [line for line in "".join(people).splitlines() if line.startswith("dropped")]
    assert code == command.FOUND
    assert len(dropped) == 1
    assert dropped[0].endswith("records: more waited than may")


async def test_names_of_files_are_shown_as_what_they_are(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Bytes that are no UTF-8 hide no agent, and no name sends the terminal an escape."""
    site = Site(tmp_path, collector)
    names = ("b\udcff.log", "\x1b]0;title\x07\n\u202e.log")
    for name in names:
        (tmp_path / "logs" / name).write_text("a line\n")
    said: list[str] = []
    async with site.agent():
        await collector.until_rows(2)
        await asyncio.to_thread(status.run, loaded(site), said.append, json=False)
        await asyncio.to_thread(status.run, loaded(site), said.append, json=True)
        check.run(loaded(site), said.append)
        for name in names:
            assert (await explained(site, tmp_path / "logs" / name))[0] == command.DONE
            _, text = await explained(site, tmp_path / "logs" / name)
            said.append(text)

    text = "".join(said)
    assert text.encode().count(b"b<U+DCFF>.log") == 4
    assert text.count("\u241b]0;title\u2407\u240a<U+202E>.log") == 3
    assert not {"\x1b", "\x07"} & set(text)


async def test_an_agent_that_cannot_say_how_it_is_is_not_taken_for_none(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Whatever goes wrong with the answer, the one who asks is told."""
    site = Site(tmp_path, collector)
    site.state_dir.mkdir()

    async def answer(_: control.Question) -> Account:
        raise ValueError("a bug")

    server = await control.serve(site.state_dir, answer)
    with pytest.raises(ConfigError, match="does not say how it is: a bug"):
        await asyncio.to_thread(status.run, loaded(site), print, json=False)
    server.close()


async def test_without_an_agent_status_says_so(tmp_path: Path, collector: FakeCollector) -> None:
    """A socket left behind by an agent that is gone answers nothing, and is no error."""
    site = Site(tmp_path, collector)
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
    said: list[str] = []

    assert status.run(loaded(site), said.append, json=False) == command.FOUND
    assert "no agent uses" in said[0]


async def test_explain_says_how_far_a_file_is_read_and_in_which_format(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Source, stream, evidence, offset, lag, format: also of a file that was renamed."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "E1124 20:02:31.123456    4711 charge.go:42] failed\n" * 4)
    async with site.agent():
        await collector.until_rows(4)
        code, text = await explained(site, path)
        assert code == command.DONE
        for part in ("source       1:", "worker a of bots", "committed 204, read 204", "klog"):
            assert part in text
        path.rename(path.with_name("a.old"))
        code, text = await explained(site, path.with_name("a.old"))

    assert code == command.DONE
    assert "none matches it by this name: it is read to its end" in text


def test_explain_knows_a_file_whose_stream_has_ended(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A rotated file that no source matches any more was read, as the agent's cache remembers."""
    site = Site(tmp_path, collector)
    path = site.write("a.old", "one\n")
    config, status_of = loaded(site), path.stat()
    key = (status_of.st_dev, status_of.st_ino)
    config.state_dir.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    assert explain.run(config, str(path), said.append) == command.FOUND

    kept = state.State(delivered=[(key, state.Delivered(4, status_of.st_mtime_ns, b"d"))])
    state.save(config.state_dir / "cache.json", kept)
    said.clear()
    assert explain.run(config, str(path), said.append) == command.DONE
    assert "ended: it was read to its end, 4 bytes, and all of it is stored" in "".join(said)


async def test_errors_after_a_banner_are_errors(tmp_path: Path, collector: FakeCollector) -> None:
    """A banner is in no format, which explain says; what is written after it is looked at anew."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "Starting payments v1.2 ...\n")
    async with site.agent():
        await collector.until_rows(1)
        _, before = await explained(site, path)
        site.write("a.log", "2026-11-24 20:02:31,230 ERROR charge failed 10\n" * 12)
        await collector.until_rows(13)
        _, after = await explained(site, path)

    assert "undecided so far, read as plain" in before
    assert "iso, which fits 12 of 12 lines" in after
    assert sorted(row.severity for row in collector.database.rows) == [9] + [17] * 12


async def test_explain_says_why_a_file_is_not_read(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Excluded, compressed, matched by nothing, the agent's own, not there: each its own reason."""
    site = Site(tmp_path, collector, source=f'exclude = ["{tmp_path}/logs/skip*"]')
    reasons = {
        site.write("skip.log", "x\n"): "`exclude` has",
        site.write("a.txt", "x\n"): "none matches it",
        site.write("a.log.gz", "x\n"): "none matches it",
        site.state_dir / "journal": "the agent's own",
        site.logs / "none.log": "no such file",
    }
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        for path, reason in reasons.items():
            code, text = await explained(site, path)
            assert (code, reason in text) == (command.FOUND, True), text
    code, text = await explained(site, site.write("b.log", "x\n"))
    assert code == command.FOUND
    assert "not read     no agent runs" in text


async def test_a_reload_follows_new_sources_and_keeps_the_old_ones_files(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What the new configuration names is followed at once; nothing is read twice."""
    site = Site(tmp_path, collector)
    site.write("a.log", "one\n")
    site.write("b.txt", "two\n")
    async with reloadable(site) as hangup:
        await collector.until_rows(1)
        text = site.config_file.read_text()
        more = f'[[agent.source]]\npaths = ["{site.logs}/*.txt"]\nservice = "other"\n'
        site.config_file.write_text(text + more)
        hangup.set()
        await collector.until_rows(2)
        site.write("a.log", "three\n")
        await collector.until_rows(3)

    assert collector.database.messages() == ["one", "two", "three"]
    assert any("was read anew" in said for said in site.said)


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("more", ["same\n", ""])
async def test_a_source_that_comes_back_marks_what_may_be_stored(
    tmp_path: Path, collector: FakeCollector, more: str
) -> None:
    """Its stream has ended; equal lines, written to since, are no proof of how far it was read."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "same\n" * 3)
    rows, streams = collector.database.rows, collector.database.streams
    async with reloadable(site) as hangup:
        await collector.until(lambda: len(rows) == 3)
        text = site.config_file.read_text()
        site.config_file.write_text(text.replace("*.log", "*.txt"))
        hangup.set()
        await collector.until(lambda: any(stream.closed for stream in streams.values()))
        await eventually(partial(not_followed, site, path))
        site.write("a.log", more)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        site.config_file.write_text(text)
        hangup.set()
        await collector.until(lambda: len(rows) == 6 + len(more.split()))

    assert [row.replayed for row in rows[:3]] == [False] * 3
    assert [row.replayed for row in rows[3:6]] == [True] * 3


async def test_a_reload_of_a_bad_file_changes_nothing_and_says_what_is_wrong(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The last good configuration stays, the mistake is named, and a mended file is taken."""
    site = Site(tmp_path, collector)
    good = site.config_file.read_text()
    async with reloadable(site) as hangup:
        await collector.until(lambda: bool(collector.hellos))
        site.config_file.write_text(good.replace("timezone", "timezoen"))
        hangup.set()
        await collector.until(lambda: any("stays as it was" in said for said in site.said))
        site.write("a.log", "still\n")
        await collector.until(lambda: collector.database.messages() == ["still"])
        site.config_file.write_text(good)
        hangup.set()
        await collector.until(lambda: any("was read anew" in said for said in site.said))

    assert any("timezoen" in said for said in site.said)


async def test_a_reload_moves_to_another_collector(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A session with a collector that is named no more ends, and the next one takes over."""
    site = Site(tmp_path, collector)
    other = type(collector)(collector.database)
    await other.start()
    async with reloadable(site) as hangup:
        await collector.until(lambda: bool(collector.hellos))
        site.config_file.write_text(
            site.config_file.read_text().replace(collector.address, other.address)
        )
        hangup.set()
        await collector.until(lambda: bool(other.hellos))
        site.write("a.log", "over there\n")
        await collector.until(lambda: collector.database.messages() == ["over there"])
    await other.stop()


async def test_what_the_agent_says_is_not_read_by_itself(
    tmp_path: Path, collector: FakeCollector, capfd: pytest.CaptureFixture[str]
) -> None:
    """A source that matches the agent's own standard error, or its state, does not read it."""
    site = Site(tmp_path, collector)
    text = site.config_file.read_text()
    wide = text.replace(f"{site.logs}/*.log", f"{tmp_path}/**/*")
    site.config_file.write_text(wide)
    own = site.logs / "own.log"
    site.write("a.log", "foreign\n")
    with capfd.disabled(), own.open("wb") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            os.write(2, b"outrider agent: something\n")
            async with site.agent():
                await collector.until(lambda: "foreign" in collector.database.messages())
                await collector.until(lambda: any(beat.workers for beat in collector.heartbeats))
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    paths = [s.info.path for s in collector.database.streams.values()]

    assert not any(path.endswith("own.log") for path in paths)
    assert not any(path.startswith(str(site.state_dir)) for path in paths)


def test_explain_needs_a_file(tmp_path: Path, collector_free_site: Path) -> None:
    """Without one it says how it is written."""
    with pytest.raises(ConfigError, match="explain FILE"):
        cli.main(["--config", str(collector_free_site), "explain"])


@pytest.fixture
def collector_free_site(tmp_path: Path) -> Path:
    """A configuration that names no collector of its own."""
    path = tmp_path / "outrider.toml"
    path.write_text(f'data_dir = "{tmp_path}"\n')
    return path
