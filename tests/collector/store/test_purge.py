"""`outrider store purge`: what matches is gone, all else is as it was, and it is told."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg.types.json import Jsonb

from outrider.columns import pack_dictionary, pack_text
from outrider.configuration import ConfigError
from outrider.filter import parse
from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.verify import verify
from outrider_collector.store.erasing import levels
from outrider_collector.store.erasing.purge import Erasure, Purge
from outrider_collector.store.quarantine import payload
from outrider_collector.terminal import store as store_command
from tests.collector.store.audit.sealing import write
from tests.collector.store.making import LINE_BYTES, Store, commit, make_columns

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SECRET = "token-hunter2"
LINES = [f"{SECRET} was used".encode(), b"two", b"three", f"and {SECRET}".encode(), b"five"]


async def _write(store: Store, *, stream: int = 1) -> None:
    begin = await store.committed(stream)
    columns = make_columns(
        LINES, begin=begin, stream=stream, event=pack_dictionary([None] * len(LINES)),
        attributes_raw=pack_text([None, None, f'{{"a":"{SECRET}"}}'.encode(), None, None]),
    )  # fmt: skip
    end = begin + LINE_BYTES * len(LINES)
    batch = store.batch(begin, LINES, end=end, stream=stream, columns=columns)
    await commit(store.writer(), batch)


async def _compact(store: Store) -> None:
    pace = Pace(timedelta(0), 1.0, everything=True)
    assert await Compactor(store.url, pace, holder="test").once(asyncio.Event())


async def _both_levels(store: Store) -> None:
    await _write(store)
    await _compact(store)
    await _write(store)
    await _write(store, stream=2)


def _purge(store: Store) -> Purge:
    return Purge(store.url, parse(SECRET), share=1.0)


async def _findings(store: Store) -> list[str]:
    return [each async for looked in verify(store.connection) for each in looked.findings]


async def test_matches_go_from_both_levels_and_nothing_else(store: Store) -> None:
    """Names, filters and counts of the rest are right; a second run finds nothing left."""
    await _both_levels(store)
    rest = "select stream, stream_offset, message, received_at from logs where message in ('two',"
    before = await store.rows(f"{rest} 'five') order by 1, 2".encode())
    would = await _purge(store).count()
    assert (would.records, would.blocks) == (9, 3)
    assert await store.value("select count(*) from logs") == 15

    done = await _purge(store).erase("anna", "leak")
    assert (done.records, done.blocks) == (9, 3)
    assert await store.rows(f"{rest} 'five') order by 1, 2".encode()) == before
    assert await store.value("select count(*) from logs") == 6
    assert await store.value(
        "select count(*) from logs where message like %s or attributes::text like %s",
        f"%{SECRET}%", f"%{SECRET}%",
    ) == 0  # fmt: skip
    assert await _findings(store) == []
    assert (await _purge(store).erase("anna", "again")).records == 0
    assert await _findings(store) == []


async def test_what_is_left_tells_how_much_and_never_what(store: Store) -> None:
    """One gap row a stream, over all transactions; the audit log names who, why and the hash."""
    await _both_levels(store)
    await _purge(store).erase("anna", "leak")
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert await store.rows(
        "select stream, records, begin_offset, end_offset, reason, worker, detail, from_at <= to_at"
        " from gaps order by 1"
    ) == [
        (1, 6, 0, 81, "erased", "w1", f"by the filter with SHA-256 {digest[:16]}", True),
        (2, 3, 0, 31, "erased", "w1", f"by the filter with SHA-256 {digest[:16]}", True),
    ]
    assert await store.rows(
        "select event, actor, target, outcome, reason, attributes::jsonb -> 'records'"
        " from audit_log order by id"
    ) == [
        ("audit.erased", "anna", f"filter {digest}", "unknown", "leak", None),
        ("audit.erased", "anna", f"filter {digest}", "success", "leak", 9),
    ]
    for table in ("gaps", "audit_log"):
        text = await store.value(f"select string_agg(t::text, '') from {table} t".encode())
        assert SECRET not in text


async def test_copies_in_alerts_messages_and_quarantine_go(store: Store) -> None:
    """By the names of erased records, or by themselves where the record is long gone.

    Rows of the audit log stay, and are counted.
    """
    await _write(store)
    await write(store, ["config.changed"], [{"actor": SECRET}])
    copy = {"stream": 1, "stream_offset": 30, "message": "cut", "service": "shop", "worker": "w1",
            "severity": 9, "ts": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    old = copy | {"stream": 99, "message": f"old {SECRET}", "severity": "error"}
    kept = copy | {"stream_offset": 10}
    await store.connection.execute(
        "insert into alerts (id, rule, key, labels, kind, priority, state, summary, started_at,"
        " rule_set, evidence) values (1, 'r', '{}', '{}', 'count', 'info', 'firing', 's', now(), 1,"
        " %s)",
        (Jsonb([copy, old, kept]),),
    )
    await store.connection.execute(
        "insert into notifications (alert, notice, channel, channel_type, conversation, priority,"
        " fate, content) values (1, 'fired', 'c', 'email', 'c', 'info', 'sent', %s)",
        (Jsonb({"title": "t", "evidence": [copy]}),),
    )
    for message in (SECRET.encode(), b"fine"):
        await store.connection.execute(
            "insert into quarantine (commit_id, team, stream, begin_offset, end_offset, sqlstate,"
            " reason, payload) values (1, 1, 1, 50, 60, '22021', 'x', %s)",
            (payload(make_columns([message, b"\xff", b"beside"])),),
        )
    await store.connection.execute(
        "insert into quarantine (commit_id, team, stream, begin_offset, end_offset, sqlstate,"
        " reason, payload) values (1, 1, 1, 50, 60, '', 'x', 'no line of ours')"
    )
    assert await _purge(store).count() == Erasure(
        looked_at=6,
        candidates=6,
        records=4,
        blocks=2,
        copies=3,
        quarantined=1,
        unread=1,
        audit_rows=1,
    )
    done = await _purge(store).erase("anna", "")
    assert (done.copies, done.quarantined, done.unread) == (3, 1, 1)
    erased = {"message": "[erased]"}
    assert await store.value("select evidence from alerts") == [copy | erased, old | erased, kept]
    assert await store.value("select content -> 'evidence' from notifications") == [copy | erased]
    payloads = [bytes(row[0]).splitlines() for row in await store.rows(
        "select payload from quarantine order by id")]  # fmt: skip
    assert [len(lines) for lines in payloads] == [2, 3, 1]
    assert SECRET.encode() not in b"".join(payloads[0])


async def test_what_the_compactor_takes_meanwhile_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh blocks that move between being listed and being read are met on the other level."""
    await _write(store)
    listed = levels.candidates

    async def then_moved(
        connection: AsyncConnection, wanted: object, *, fresh: bool
    ) -> list[levels.Candidates]:
        found = await listed(connection, parse(SECRET), fresh=fresh)
        if fresh:
            await _compact(store)
        return found

    monkeypatch.setattr(levels, "candidates", then_moved)
    assert (await _purge(store).erase("anna", "")).records == 3
    assert await store.value("select count(*) from logs") == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_the_command_asks_on_a_terminal(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would go is counted and named; anything but yes erases nothing, --yes is not asked."""
    await _write(store)
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", store.url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")

    async def told(answer: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", _Terminal(answer))
        code = await asyncio.to_thread(store_command.main, ["purge", SECRET, *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    for answer in ("", "y\n", "no\n"):
        code, out, asked = await told(answer)
        assert (code, out) == (1, "")
        assert "3 records would be erased" in asked and "nothing was erased" in asked
    assert (await _purge(store).count()).records == 3
    code, out, asked = await told("yes\n")
    assert code == 0 and "3 records erased" in out
    code, out, asked = await told("", "--yes")
    assert code == 0 and "Type yes" not in asked and "0 records erased" in out


def test_the_command_reads_a_secret_from_standard_input(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither history nor the list of processes shows it; an empty filter erases nothing."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    assert store_command.main(["purge", "-", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 0
    assert store_command.main(["purge", SECRET, "--yes"]) == 0
    assert "0 records erased" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="erase everything"):
        store_command.main(["purge", " "])


async def test_without_a_terminal_nothing_is_erased_unasked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job, a pipe or a mistyped script erases only with --yes, and is told so."""
    await _write(store)
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", store.url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    for filter_ in (SECRET, "-"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
        with pytest.raises(ConfigError, match="--yes erases it"):
            await asyncio.to_thread(store_command.main, ["purge", filter_])
    assert (await _purge(store).count()).records == 3


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_filter_from_standard_input_is_utf8(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    """Bytes of another encoding are refused by name, whatever the locale makes of them."""
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    raw = io.BytesIO(b"caf\xe9 zzz\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw, encoding="utf-8", errors=errors))
    with pytest.raises(ConfigError, match="not UTF-8: standard input"):
        store_command.main(["purge", "-", "--dry-run"])
