"""Certificates: whose word is taken for one, and what its end says about whoever shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from outrider.instants import from_us

if TYPE_CHECKING:
    from outrider.probes.keys import Keys
    from outrider.probes.result import Fact

WARN_DAYS = 14

_DAY_US = 86_400_000_000


def ends_soon(expires_us: int, warn_days: int, now_us: int) -> str:
    """Return why that is worth a warning, or an empty text; times in microseconds since 2000."""
    left_us = expires_us - now_us
    if left_us >= warn_days * _DAY_US:
        return ""
    until = f"{from_us(expires_us):%Y-%m-%d %H:%M} UTC"
    days = left_us // _DAY_US
    when = "today" if days < 1 else "in 1 day" if days == 1 else f"in {days} days"
    return f"the certificate ends {when}, {until}"


def facts(expires_us: int, now_us: int) -> dict[str, Fact]:
    """Return when it ends, and how many days are left."""
    days = (expires_us - now_us) / _DAY_US
    return {"tls_expires_us": expires_us, "tls_days": round(days, 2)}


def read_days(keys: Keys) -> int:
    """Read ``certificate_days``: so many days before its end a certificate is a warning."""
    return keys.integer("certificate_days", WARN_DAYS, 0, 400)


def read_ca_file(keys: Keys) -> str:
    """Read ``ca_file``: authorities to trust instead of the system's. Raises ConfigError."""
    path = keys.text("ca_file", "")
    if path and not Path(path).is_file():
        raise keys.mistake("ca_file", f"there is no file {path}", "name a file of certificates")
    return path
