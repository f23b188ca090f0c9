"""When an exchange asks to be left alone, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.exchanges.preset import Throttled
    from outrider.probes.http import Response

MAX_WAIT_S: Final = 3 * 86_400.0
"""The longest that is waited: Binance bans for up to three days."""

_LOOKED_AT_BYTES: Final = 4_096


def is_asked_to_wait(response: Response, throttled: Throttled) -> bool:
    """Whether an answer that is not what it should be says that there were too many requests."""
    if response.status in throttled.status:
        return True
    beginning = response.body[:_LOOKED_AT_BYTES].decode("utf-8", "replace").casefold()
    return any(text.casefold() in beginning for text in throttled.texts)


def wait_s(headers: Mapping[str, str], default_s: float) -> float:
    """Return the seconds that ``Retry-After`` asks for, else the default.

    A date in it is taken relative to the answer's own ``Date``: whose clock is right does not
    matter.
    """
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit() and len(asked) < 10:
        wait = float(asked)
    else:
        try:
            wait = (_moment(asked) - _moment(headers.get("date", ""))).total_seconds()
        except (ValueError, OverflowError):
            wait = 0.0
    return min(wait, MAX_WAIT_S) if wait > 0 else default_s


def _moment(text: str) -> datetime:
    """Read an HTTP date. Raises ValueError, OverflowError."""
    moment = parsedate_to_datetime(text)
    # The zone `-0000` is UTC, told by who does not say where he is.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
