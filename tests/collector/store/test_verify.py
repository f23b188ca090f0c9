"""`outrider store verify` finds what would hide or double a record."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_collector.store.compaction.compactor import Compactor, Pace
from outrider_collector.store.compaction.verify import verify
from outrider_collector.terminal import store as store_command
from tests.collector.store.making import Store, commit

if TYPE_CHECKING:
    import psycopg


async def _both_levels(store: Store) -> None:
    """Three records on either level."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"order-7f3a at 10.2.3.4", b"two", b"three"]))
    pace = Pace(timedelta(0), 1.0, everything=True)
    assert await Compactor(store.url, pace, holder="test").once(asyncio.Event())
    await commit(writer, store.batch(30, [b"four", b"five", b"six"]))


async def _findings(store: Store) -> list[str]:
    return [each async for looked in verify(store.connection) for each in looked.findings]


async def test_a_sound_store_has_no_findings(store: Store) -> None:
    """Every block of both levels is looked at; nothing is wrong."""
    await _both_levels(store)
    looked = [each async for each in verify(store.connection)]
    assert sum(each.records for each in looked) == 6
    assert [each.findings for each in looked if each.findings] == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("update blocks_compacted set n = 4", "number of records"),
        ("update blocks_fresh set ts_max = ts_max + interval '1 s'", "range of time"),
        ("update blocks_compacted set level_counts = '{0,3,0,0,0,0}'", "counts by level"),
        ("update blocks_fresh set stream_ids = '{2}'", "streams"),
        ("update blocks_compacted set minute_counts = '{1,0,0,0,0,0}'", "counts by minute"),
        ("update blocks_compacted set received_max = now()", "range of arrival"),
        ("update blocks_compacted set bloom = decode(repeat('00', 32), 'hex')", "tokens"),
        ("update blocks_compacted set message = '{order-7f3b,two,three}'", "lacks 1 of"),
        ("update blocks_fresh set stream_offset = '{20,40,50}'", "there 2 times"),
        ("update streams set committed = 50 where id = 1", "acknowledged is 50"),
    ],
)
async def test_damage_is_found_and_named(store: Store, damage: str, words: str) -> None:
    """Each kind of damage is one finding that says what is wrong."""
    await _both_levels(store)
    await store.connection.execute(damage)
    findings = await _findings(store)
    assert len(findings) == 1, findings
    assert words in findings[0]


def test_the_command_exits_3_when_something_is_wrong(
    database_url: str,
    beside: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing wrong is exit code 0; a finding is printed, and makes it 3."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    assert store_command.main(["verify"]) == 0
    assert "nothing found wrong" in capsys.readouterr().out
    beside.execute(
        "insert into blocks_fresh (received_at, commit_id, team, service, n, ts_min, ts_max,"
        " level_counts, stream_ids, ts, observed_at, stream, stream_offset, severity)"
        " values (now(), 1, 1, 's', 1, now(), now(), '{1,0,0,0,0,0}', '{1}',"
        " array[now()], array[now()], '{1}', '{0}', '{9}')"
    )
    assert store_command.main(["verify", "--quick"]) == 3
    assert "counts by level" in capsys.readouterr().out
