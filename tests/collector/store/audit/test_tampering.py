"""Tampering, as a superuser with triggers off: each way is found, and what was touched is named."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outrider.instants import to_us
from outrider_collector.store.audit import canonical, months, proof, seals
from outrider_collector.store.audit.canonical import Head, Seal, leaf_hash
from outrider_collector.store.audit.verify import verify
from tests.collector.store.audit.sealing import seal, two_seals, write

if TYPE_CHECKING:
    import pytest

    from outrider_collector.store.audit.proof import Finding
    from tests.collector.store.making import Store

_COPY = ", ".join(name for name in canonical.COLUMNS if name != "id")


async def _tamper(store: Store, *statements: str) -> None:
    await _triggers(store, "disable")
    for statement in statements:
        await store.connection.execute(statement.encode())


async def _triggers(store: Store, how: str) -> None:
    partitions = await store.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'audit_log'::regclass"
    )
    for table in ("audit_log", "audit_seals", *(name for (name,) in partitions)):
        await store.connection.execute(f"alter table {table} {how} trigger all".encode())


_CASES: list[tuple[list[str], list[tuple[str, str]]]] = [
    (["update audit_log set actor = 'bob' where id = 7"],
     [("row changed", "row 7 (seal 2)")]),
    (["update audit_log set ts = 'infinity' where id = 7"],
     [("row changed", "row 7 (seal 2)")]),
    (["update audit_log set attributes = null where id in (2, 7)"],
     [("row changed", "row 2 (seal 1)"), ("row changed", "row 7 (seal 2)")]),
    (["delete from audit_log where id = 3"],
     [("row removed", "row 3 (seal 1)")]),
    ([f"insert into audit_log (id, {_COPY}) select 5, {_COPY} from audit_log where id = 4"],
     [("row twice", "row 5 (seal 1)")]),
    ([f"insert into audit_log (id, {_COPY}) select -5, {_COPY} from audit_log where id = 4"],
     [("row inserted", "row -5")]),
    (["update audit_log set id = case id when 2 then 9 else 2 end where id in (2, 9)"],
     [("row changed", "row 2 (seal 1)"), ("row changed", "row 9 (seal 2)")]),
    (["update audit_log set id = case id when 2 then 4 else 2 end where id in (2, 4)"],
     [("row reordered", "row 2 (seal 1)"), ("row reordered", "row 4 (seal 1)")]),
    (["update audit_seals set sealed_at = sealed_at - interval '1 day' where number = 1"],
     [("seal changed", "seal 1")]),
    (["update audit_seals set leaves = sha256('x') || substr(leaves, 33) where number = 2"],
     [("seal changed", "seal 2"), ("row changed", "row 6 (seal 2)")]),
    (["update audit_seals set root = sha256('x') where number = 1"],
     [("seal changed", "seal 1"), ("seal changed", "seal 2")]),
    (["delete from audit_seals where number = 1"],
     [("seal missing", "seal 2"), ("seal changed", "seal 2")]),
]  # fmt: skip


async def test_each_way_of_tampering_is_found(store: Store) -> None:
    """The first finding names the first row or seal that is not as it was."""
    await two_seals(store)
    assert (await verify(store.connection)).findings == []
    tables = ("audit_log", "audit_seals")
    await _tamper(store, *(f"create table saved_{name} as table {name}" for name in tables))
    for statements, findings in _CASES:
        await _tamper(store, *statements)
        report = await verify(store.connection)
        found = [(finding.what, finding.where) for finding in report.findings]
        assert [each for each in found if each in findings] == findings, statements
        assert found[0] == findings[0], statements
        for name in tables:
            await _tamper(store, f"delete from {name}", f"insert into {name} table saved_{name}")


async def test_a_row_that_says_it_came_before_what_was_sealed_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy put in by a superuser is sealed like any row; verify and the sealer name it."""
    told: list[Finding] = []
    monkeypatch.setattr(seals, "_tell", told.append)
    await two_seals(store)
    await _tamper(
        store,
        "update audit_log set received_at = received_at - interval '1 hour'",
        "delete from audit_seals",
    )
    assert await seal(store) == 10
    assert (await verify(store.connection)).findings == []
    columns = _COPY.replace("actor, ", "")
    await store.connection.execute(
        f"insert into audit_log (actor, {columns})"
        f" select 'ghost', {columns} from audit_log where id = 1".encode()
    )
    assert await seal(store) == 1
    (finding,) = (await verify(store.connection)).findings
    assert (finding.what, finding.where) == ("row backdated", "row 11 (seal 2)")
    assert [(f.what, f.where) for f in told] == [("row backdated", "row 11")]


async def test_a_row_with_an_id_that_was_never_given_out_is_named_and_not_sealed(
    store: Store,
) -> None:
    """The rows after it, with smaller ids, are sealed and proved as if it were not there."""
    await two_seals(store)
    await _tamper(
        store,
        f"insert into audit_log (id, {_COPY}) select 7000, {_COPY} from audit_log where id = 1",
    )
    assert await seal(store) == 0
    await write(store, ["config.changed"] * 3)
    assert await seal(store) == 3
    report = await verify(store.connection)
    assert [(f.what, f.where) for f in report.findings] == [("row inserted", "row 7000")]
    assert (report.unsealed, report.late) == (0, 0)
    # Who may not look at the sequence accuses nobody.
    await store.connection.execute("create role outrider_blind in role outrider_admin")
    try:
        await store.connection.execute("revoke usage on sequence audit_ids from outrider_admin")
        await store.connection.execute("set role outrider_blind")
        assert (await verify(store.connection)).findings == []
    finally:
        await store.connection.execute("reset role")
        await store.connection.execute("drop role outrider_blind")


def test_rows_that_waited_behind_a_full_seal_are_not_called_backdated() -> None:
    """Only a seal of all that was there says that later rows were not."""
    group = [_seal_of(3)]
    assert proof.end_of(group, most_rows=4) == group[0].sealed_at
    assert proof.end_of(group, most_rows=3) is None
    limit_us = group[0].sealed_at - int(proof.BACKDATED_S * 1_000_000)
    rows: list[dict[str, canonical.Value]] = [{"id": 4, "received_at": limit_us}]
    assert not list(proof.backdated(rows, group[0].sealed_at, str))
    rows[0]["received_at"] = limit_us - 1
    assert [f.what for f in proof.backdated(rows, group[0].sealed_at, str)] == ["row backdated"]
    assert not list(proof.backdated(rows, None, str))


def _seal_of(rows: int) -> Seal:
    return Seal(
        number=1, month=0, after_id=0, up_to_id=rows, ids=tuple(range(1, rows + 1)),
        leaves=b"x" * 32 * rows, previous=canonical.NO_ROOT, sealed_at=10**15,
    )  # fmt: skip


async def test_only_a_published_head_tells_a_chain_that_was_made_anew(store: Store) -> None:
    """A superuser who seals again is not found by the chain, but by a head that an agent keeps."""
    await two_seals(store)
    heads = [
        Head(number, bytes(root))
        for number, root in await store.rows("select number, root from audit_seals order by 1")
    ]
    await _tamper(store, "update audit_log set actor = 'bob' where id = 2")
    seal_ = await _sealed_again(store)
    await store.connection.execute(
        "update audit_seals set leaves = %s, tree = %s, root = %s where number = 1",
        (seal_.leaves, seal_.tree, seal_.root),
    )
    await store.connection.execute("delete from audit_seals where number = 2")
    assert await seal(store) == 5

    assert (await verify(store.connection)).findings == []
    report = await verify(store.connection, heads)
    assert [(f.what, f.where) for f in report.findings] == [
        ("head differs", "seal 1"), ("head differs", "seal 2"),
    ]  # fmt: skip
    assert report.heads_agreeing == 0


async def _sealed_again(store: Store) -> Seal:
    rows = await seals.read_rows(store.connection, 0, 5, 100)
    ((month, sealed_at, up_to),) = await store.rows(
        "select month, sealed_at, up_to_id from audit_seals where number = 1"
    )
    return Seal(
        number=1, month=to_us(month), after_id=0, up_to_id=up_to, ids=tuple(range(1, 6)),
        leaves=b"".join(map(leaf_hash, rows)), previous=canonical.NO_ROOT,
        sealed_at=to_us(sealed_at),
    )  # fmt: skip


async def test_a_log_that_was_cut_off_is_found_by_a_head(store: Store) -> None:
    """The newest rows and seals gone: the chain is whole, and shorter than what was published."""
    await two_seals(store)
    head, _ = await seals.newest(store.connection)
    await _tamper(
        store,
        "delete from audit_seals where number = 2",
        "delete from audit_log where id > 5",
    )
    report = await verify(store.connection, [head])
    assert [(f.what, f.where) for f in report.findings] == [("head missing", "seal 2")]


async def test_retention_takes_sealed_months_and_leaves_their_seals(store: Store) -> None:
    """A month goes when all of it is sealed and old; that is a row, and the proof says so."""
    ((now,),) = await store.rows("select now()")
    month = months.month_of(now - timedelta(days=100))
    await months.ensure_ahead(store.connection, month)
    await write(store, ["config.changed"] * 3)
    await _tamper(store)
    await store.connection.execute(
        f"insert into audit_log (id, received_at, {_COPY.replace('received_at, ', '')})"
        f" select id + 10, %s, {_COPY.replace('received_at, ', '')} from audit_log".encode(),
        (month,),
    )
    await store.connection.execute("select setval('audit_ids', 20)")
    await _triggers(store, "enable")
    keep = timedelta(days=30)
    assert await months.drop_old(store.connection, now, keep) == []
    assert await seal(store) == 6

    gone = [months.table(month), months.table(months.next_month(month))]
    assert await months.drop_old(store.connection, now, keep) == gone
    assert await months.drop_old(store.connection, now, keep) == []
    report = await verify(store.connection)
    assert (report.findings, report.rows, report.retired) == ([], 3, 3)
    assert report.retired_before == months.next_month(months.next_month(month))
    # Without the row that records it, it is a removal like any other.
    await _tamper(store, f"delete from audit_log where event = '{months.RETIRED}'")
    report = await verify(store.connection)
    assert {finding.what for finding in report.findings} == {"row removed"}
