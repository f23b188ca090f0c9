"""Records that Postgres refuses: found by halving, kept as bytes, never in anybody's way.

When the insert of blocks fails for a reason that lies in the data, each batch is stored by itself,
and a batch that fails again is halved until single records remain. A record that fails alone goes
to table ``quarantine`` with its payload and Postgres's reason, and a gap row makes its absence
visible; both in the transaction that moves the stream past it, so that it is asked for once and
never again. The rest of its batch is stored as usual.

Halving is bounded: after ``MAX_TRIES`` inserts in one commit, what is still in doubt is kept aside
whole. A batch whose columns cannot even be cut (broken framing) is kept aside whole at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import errors

from outrider.columns import ColumnError, unpack_bytes
from outrider_collector.store import binary, blocks, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from outrider.columns import Columns
    from outrider_collector.store.claim import PendingBatch

DATA_ERRORS = (
    errors.InvalidBinaryRepresentation,  # 22P03: framing that does not fit the type
    errors.InvalidTextRepresentation,  # 22P02
    errors.CharacterNotInRepertoire,  # 22021: NUL, or bytes that are not UTF-8
    errors.UntranslatableCharacter,  # 22P05
    errors.NumericValueOutOfRange,  # 22003
    errors.DatetimeFieldOverflow,  # 22008
    errors.ProgramLimitExceeded,  # 54000: a value larger than Postgres takes
    errors.ProtocolViolation,  # 08P01: a column shorter than its count says
)
"""The only errors that say something about records. All others are about the database."""

MAX_TRIES = 1_000

_INSERT = """
insert into quarantine (commit_id, team, stream, begin_offset, end_offset, sqlstate, reason,
    payload)
values (%s, %s, %s, %s, %s, %s, %s, %s)
"""


@dataclass(slots=True)
class Kept:
    """What became of the batches of one commit."""

    stored: list[tuple[PendingBatch, Columns]] = field(default_factory=list)
    losses: list[rows.Loss] = field(default_factory=list)
    records: int = 0
    """Records in quarantine."""


async def store_each(
    connection: AsyncConnection,
    commit_id: int,
    now_us: int,
    holders: Sequence[tuple[PendingBatch, Columns]],
) -> Kept:
    """Store batches one by one in the open transaction; quarantine what is refused."""
    sorter = _Sorter(connection, commit_id, now_us)
    for batch, columns in holders:
        await sorter.store(batch, columns, batch.end)
    return sorter.kept


class _Sorter:
    def __init__(self, connection: AsyncConnection, commit_id: int, now_us: int) -> None:
        self._connection = connection
        self._commit_id = commit_id
        self._now_us = now_us
        self._tries = 0
        self.kept = Kept()

    async def store(self, batch: PendingBatch, columns: Columns, end: int) -> None:
        """Store the records, which end at offset ``end``, or their good part."""
        refusal = await self._try(batch, columns)
        if refusal is None:
            return
        if columns.n == 1 or self._tries >= MAX_TRIES:
            await self._keep_aside(batch, columns, end, refusal)
            return
        middle = columns.n // 2
        try:
            halves = blocks.cut(columns, 0, middle), blocks.cut(columns, middle, columns.n)
        except ColumnError as error:
            await self._keep_aside(batch, columns, end, ("", f"cannot be read: {error}"))
            return
        await self.store(batch, halves[0], halves[1].stream_offset[0])
        await self.store(batch, halves[1], end)

    async def _try(self, batch: PendingBatch, columns: Columns) -> tuple[str, str] | None:
        """Insert; return SQLSTATE and reason of a refusal, with nothing inserted."""
        self._tries += 1
        try:
            admitted = blocks.admit_times(columns, self._now_us)
            async with self._connection.transaction():  # a savepoint
                for block in blocks.pack_blocks(
                    batch.team, columns.service, [admitted], replayed=batch.replayed
                ):
                    await rows.insert_block(self._connection, self._commit_id, block)
        except ColumnError as error:
            return "", f"cannot be read: {error}"
        except DATA_ERRORS as error:
            if self._connection.closed:
                raise
            return error.sqlstate or "", str(error).splitlines()[0]
        self.kept.stored.append((batch, admitted))
        return None

    async def _keep_aside(
        self, batch: PendingBatch, columns: Columns, end: int, refusal: tuple[str, str]
    ) -> None:
        sqlstate, reason = refusal
        begin = columns.stream_offset[0]
        await self._connection.execute(
            _INSERT,
            (
                binary.int8(self._commit_id),
                binary.int4(batch.team),
                binary.int8(batch.stream),
                binary.int8(begin),
                binary.int8(end),
                binary.text(sqlstate),
                binary.text(rows.storable(reason)),
                payload(columns),
            ),
        )
        self.kept.records += columns.n
        self.kept.losses.append(
            rows.Loss(
                gap_id=_gap_id(batch.stream, begin, end),
                batch=batch,
                begin=begin,
                end=end,
                records=columns.n,
                at_least=False,
                bytes=end - begin,
                reason="quarantined",
                detail=reason,
            )
        )


def _gap_id(stream: int, begin: int, end: int) -> bytes:
    """Return the name of a loss: the same whenever the same range comes again."""
    name = struct.pack(">3Q", stream, begin, end) + b"quarantined"
    return hashlib.blake2b(name, digest_size=16).digest()


def payload(columns: Columns) -> bytes:
    """Return records as JSON lines that lose nothing: bytes that are not UTF-8 stay as surrogates.

    Columns that cannot be read are kept raw, in base64, as one line.
    """
    try:
        texts = {name: unpack_bytes(raw, columns.n) for name, raw in columns.raw_texts.items()}
        words = {name: column.texts(columns.n) for name, column in columns.dictionaries.items()}
    except ColumnError:
        return _raw(columns)
    lines = []
    for i in range(columns.n):
        record: dict[str, object] = {
            "ts_us": columns.ts_us[i],
            "observed_us": columns.observed_us[i],
            "stream_offset": columns.stream_offset[i],
            "severity": columns.severity[i] if i < len(columns.severity) else None,
        }
        record |= {name: values[i] for name, values in words.items()}
        for name, raw in texts.items():
            value = raw[i]
            if value is not None:
                record[name] = value.decode("utf-8", "surrogateescape")
        lines.append(json.dumps(record))
    return "\n".join(lines).encode()


def _raw(columns: Columns) -> bytes:
    return json.dumps(
        {
            "n": columns.n,
            "ts_us": columns.ts_us.tolist(),
            "observed_us": columns.observed_us.tolist(),
            "stream_offset": columns.stream_offset.tolist(),
            "severity": columns.severity.hex(),
            **{name: base64.b64encode(raw).decode() for name, raw in columns.raw_texts.items()},
        }
    ).encode()
