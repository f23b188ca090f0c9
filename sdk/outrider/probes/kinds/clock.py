"""Clock: how far this host's clock is from a time server's (SNTP, RFC 4330).

The offset is the middle of the four times of one exchange; half of the round trip is its error.
"""

from __future__ import annotations

import secrets
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outrider.probes.deadline import now_us
from outrider.probes.reach import ReachError, allowed
from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec, check_reach

if TYPE_CHECKING:
    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

NTP_PORT: Final = 123
_PACKET = struct.Struct(">BBbb11I")
_CLIENT: Final = 0x23  # version 4, mode 3
_SERVER_MODE: Final = 4
_UNSYNCHRONISED: Final = 3
_MOST_STRATUM: Final = 15
_1900_TO_2000_S: Final = 3_155_673_600


@dataclass(frozen=True, slots=True)
class ClockTarget:
    """Which server, and how far from it is too far, milliseconds."""

    server: str
    port: int
    warn_ms: float
    fail_ms: float


def _read(keys: Keys, networks: tuple[Network, ...]) -> ClockTarget:
    server, port = keys.text("server"), keys.integer("port", NTP_PORT, 1, 65_535)
    check_reach(keys, "server", server, networks)
    warn_ms = keys.seconds("warn", "250ms", "1ms", "1d") * 1_000
    fail_ms = keys.seconds("fail", "1s", "1ms", "1d") * 1_000
    if fail_ms < warn_ms:
        raise keys.mistake("fail", "it is below `warn`", "make it larger")
    return ClockTarget(server, port, warn_ms, fail_ms)


def look(spec: Spec[ClockTarget], deadline: Deadline) -> Result:
    """Ask the server for the time once."""
    target = spec.target
    address, *_ = allowed(target.server, target.port, spec.networks)
    skew_ms, round_trip_ms = _asked(address, target.port, deadline)
    facts: dict[str, Fact] = {"skew_ms": round(skew_ms, 1), "error_ms": round(round_trip_ms / 2, 1)}
    off_ms = max(0.0, abs(skew_ms) - round_trip_ms / 2)
    reason = f"{abs(skew_ms):.0f} ms {'ahead of' if skew_ms > 0 else 'behind'} {target.server}"
    if off_ms >= target.fail_ms:
        return Result("down", reason, round_trip_ms, facts)
    return Result("degraded" if off_ms >= target.warn_ms else "up", reason, round_trip_ms, facts)


def _asked(address: str, port: int, deadline: Deadline) -> tuple[float, float]:
    """Return how far this clock is ahead of the server's, and the round trip; milliseconds."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    nonce = secrets.randbits(64)  # comes back as the origin's time: proves whose answer it is
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(deadline.left_s())
        try:
            sock.connect((address, port))
            sent_us = now_us()
            sock.send(_PACKET.pack(_CLIENT, 0, 0, 0, *[0] * 9, nonce >> 32, nonce & 0xFFFF_FFFF))
            answer = sock.recv(1_024)
            back_us = now_us()
        except TimeoutError:
            raise
        except OSError as error:
            raise ReachError("connect", f"{address}: {(error.strerror or '').lower()}") from None
    received_us, answered_us = parse(answer, nonce)
    skew_us = (sent_us + back_us) / 2 - (received_us + answered_us) / 2
    round_trip_us = max(0, (back_us - sent_us) - (answered_us - received_us))
    return skew_us / 1_000, round_trip_us / 1_000


def parse(answer: bytes, nonce: int) -> tuple[int, int]:
    """Return when the server received and answered, microseconds since 2000. Raises ReachError."""
    if len(answer) < _PACKET.size:
        raise ReachError("protocol", "the answer is no time")
    flags, stratum, _, _, *words = _PACKET.unpack_from(answer)
    if flags & 7 != _SERVER_MODE or (words[5] << 32 | words[6]) != nonce:
        raise ReachError("protocol", "the answer is not one to this question")
    if flags >> 6 == _UNSYNCHRONISED or not 0 < stratum <= _MOST_STRATUM:
        raise ReachError("protocol", "the server does not know the time itself, or refuses")
    return _us(words[7], words[8]), _us(words[9], words[10])


def _us(seconds: int, fraction: int) -> int:
    # Seconds roll over in 2036: what is before 1968 is of the next era.
    era_s = seconds if seconds & 0x8000_0000 else seconds + (1 << 32)
    return (era_s - _1900_TO_2000_S) * 1_000_000 + (fraction * 1_000_000 >> 32)


KIND = Kind("clock", _read, look)
