"""Seeded records of 16 message families for the store without an agent.

A message has 137 bytes, a JSON line of the SDK's 250: one record of three has attributes. Numbers,
ids and addresses vary; families come in random order. What is made is what an agent would send:
columns of one stream.
"""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING

from outrider.columns import Columns, pack_dictionary, pack_text, unpack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES = [f"service-{i:02}" for i in range(16)]
NEEDLE = "zq7needle"
"""A word that is put into few records; :func:`batches` says how many."""
COMMON = "connection"

_FAMILIES = """
order {uuid} of account {n5} filled at venue {venue} after {n3} ms, remaining quantity {n4}, fee {n2} basis points, as the maker
GET /api/v2/accounts/{n5}/orders?limit={n3}&cursor=none HTTP/1.1 200 {n5} bytes in {n3} ms from {ip}:{n5} by browser/{n2}.{n1} without cache
connection from {ip}:{n5} closed by peer after {n5} requests and {n6} bytes, reason: idle timeout of {n3} seconds was reached
connection pool of database primary-{n1} has {n2} idle and {n2} busy of {n3} members, oldest transaction {n5} ms, callers waiting {n2}
cache miss for key quote:{venue}:{n5} in region {n2}, loaded in {n3} ms from replica {n1} at {ip}, the entry expires in {n4} seconds
scheduled job reconcile-ledger processed {n5} rows of page {n4}, {n1} differences, took {n4} ms, next run in {n3} seconds from now
heartbeat of session {hex} on venue {venue} answered in {n2} ms, sequence {n6}, clock offset {n2} us, subscriptions {n3}, ready for orders
book snapshot for instrument {n5} applied, depth {n3}, checksum {n6} ok, {n4} deltas replayed in {n3} us, lag behind venue {venue} {n2} ms
retrying upload of segment {n6} to bucket archive-{n2}, attempt {n1} of 5, last error: timeout after {n4} ms while reading from {ip}
garbage collection of generation {n1} freed {n6} bytes in {n3} us, heap {n6} bytes, threads {n3}, pause target {n2} ms, promoted {n5}
user {n6} logged in from {ip} with a token of an application, second factor {n1}, previous login {n5} seconds ago, risk score {n2}
worker {n3} picked task {uuid} from queue ingest-{n1} after {n5} ms, priority {n1}, the queue depth is {n4} with {n2} workers busy
risk check of strategy momentum-{n2} passed: exposure {n6} of {n6}, drawdown {n2}.{n2} %, open orders {n3}, instruments {n3}
slow query of {n5} ms on table positions_{n2}: {n6} rows read, {n3} returned, client {ip}:{n5}, waited {n3} ms for locks before it
message {hex} published to topic fills.{venue} partition {n2} offset {n6}, {n4} bytes, acknowledged by {n1} brokers in {n3} ms
certificate for host gw-{n3}.example.net is valid for {n3} days, chain of {n1}, checked by the resolver {ip} in {n3} ms, its key pinned
""".strip().splitlines()  # noqa: E501  one a line
_LEVELS = bytes([5] * 10 + [9] * 80 + [13] * 8 + [17] * 2)
STEP_US = 8_640
"""Between two records: 10 million a day, a service some 26,000 an hour."""


def batches(
    records: int, newest_us: int, *, batch_records: int, needles: int = 20, seed: int = 7
) -> Iterator[Columns]:
    """Columns of ``batch_records`` records each, one each STEP_US up to ``newest_us``.

    Times are microseconds since 2000. Services take turns; ``needles`` records, evenly spread, have
    the word NEEDLE.
    """
    dice = random.Random(seed)
    every = max(records // max(needles, 1), 1)
    offsets = dict.fromkeys(SERVICES, 0)
    # A service has every record of its turn, so a batch spans as long as its turn and the others'.
    for first in range(0, records, batch_records * len(SERVICES)):
        for place, service in enumerate(SERVICES):
            count = min(batch_records, (records - first - place + 15) // len(SERVICES))
            if count <= 0:
                continue
            numbers = [first + place + i * len(SERVICES) for i in range(count)]
            messages = [_message(dice) for _ in numbers]
            for i, number in enumerate(numbers):
                of_turn = number // len(SERVICES) * len(SERVICES)
                if needles and of_turn % every < len(SERVICES) and place == 3:
                    messages[i] += f" {NEEDLE}"
            yield _columns(dice, service, place + 1, messages, offsets, [
                newest_us - (records - number) * STEP_US for number in numbers
            ])  # fmt: skip


def _columns(
    dice: random.Random,
    service: str,
    stream: int,
    messages: list[str],
    offsets: dict[str, int],
    times: list[int],
) -> Columns:
    n = len(messages)
    begin = offsets[service]
    offsets[service] = begin + 250 * n
    attributes = [
        f'{{"account":"acc-{dice.randrange(1000):04}","order_id":{dice.randrange(10**9)},"n":{i}}}'
        if dice.randrange(3) == 0
        else None
        for i in range(n)
    ]
    return Columns(
        n=n,
        stream=stream,
        service=service,
        worker="w1",
        host="bench",
        source="file",
        ts_us=array("q", times),
        observed_us=array("q", (t + 900 for t in times)),
        stream_offset=array("q", range(begin, begin + 250 * n, 250)),
        severity=bytes(dice.choices(_LEVELS, k=n)),
        message_raw=pack_text([message.encode() for message in messages]),
        attributes_raw=pack_text([each.encode() if each else None for each in attributes]),
        logger=pack_dictionary([f"{service}.engine"] * n),
    )


def _message(dice: random.Random) -> str:
    bits = dice.getrandbits

    def number(size: int) -> int:
        """Three of four are of the few values that a program writes again and again."""
        return bits(size) if bits(2) == 0 else (bits(5) + 1) << (size - 5)

    return dice.choice(_FAMILIES).format(
        uuid=f"{bits(32):08x}-{bits(16):04x}-4{bits(12):03x}-a{bits(12):03x}-{bits(48):012x}",
        hex=f"{bits(64):016x}",
        ip=f"10.{bits(2)}.{bits(4)}.{bits(8)}",
        venue=("kraken", "okx", "bybit", "binance")[bits(2)],
        n1=bits(3), n2=bits(6), n3=number(9), n4=number(13), n5=number(16), n6=number(30),
    )  # fmt: skip


def json_bytes(columns: Columns) -> int:
    """The size of these records as the JSON lines that the SDK would have written."""
    logger = columns.logger.values[0]
    frame = (
        f'{{"ts":"2026-01-01T00:00:00.000000Z","severity":9,"logger":"{logger}","message":""}}\n'
    )
    attributes = [each for each in unpack_bytes(columns.attributes_raw, columns.n) if each]
    keys = len(attributes) * len(',"attributes":')
    texts = len(columns.message_raw) - 4 * columns.n + sum(map(len, attributes))
    return columns.n * len(frame) + keys + texts
