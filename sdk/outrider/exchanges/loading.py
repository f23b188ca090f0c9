"""Presets from TOML: the ones that come with Outrider, a user's file, or a table in the settings.

::

    name = "kraken"                       # as workers name it in their records
    base_url = "https://api.kraken.com"

    [[reach]]                             # what must answer; several: where some fail, DEGRADED
    url = "/0/public/Time"                # below base_url, or whole
    ok = { error = [] }                   # values that must stand at paths of the answer
    has = ["result.unixtime"]             # paths that must lead to something

    [time]                                # its clock
    url = "/0/public/Time"
    at = "result.unixtime"
    unit = "s"                            # s, ms, us, ns or iso
    resolution_ms = 1000                  # by default what the unit says
    every = "1m"
    ahead_ms = 1000                       # it refuses requests whose time is further ahead, ...
    behind_ms = 5000                      # ... or older; left out: any time will do

    [announced]                           # what it says of itself
    url = "/0/public/SystemStatus"
    at = "result.status"                  # a word, ...
    words = { online = "ONLINE", maintenance = "MAINTENANCE" }     # ... and what it means
    every = "1m"
    # Where it is a list of announcements (then `at` and the following are inside of an entry):
    list = "result.list"
    only = { env = ["1"] }                # which entries count
    partly = { service = ["8"] }          # which concern only a part
    title = "title"
    begin = "begin"
    end = "end"
    unit = "ms"

    [throttled]                           # how it says "too many requests"
    status = [418, 429]
    texts = ["Too many requests"]
    wait = "1m"                           # where it names no time

    [weight]                              # how much of its limit this address has used
    header = "x-mbx-used-weight-1m"
    limit = 6000

Paths are explained in :mod:`.answers`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from outrider.configuration import Source, parse, read_text, suggest
from outrider.exchanges.answers import UNITS, Unit, word
from outrider.exchanges.modes import Mode
from outrider.exchanges.preset import Announced, Endpoint, Preset, Throttled, Time, Weight
from outrider.probes.http import checked
from outrider.probes.keys import Keys
from outrider.probes.reach import ReachError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REACH: Final = 5
"""Endpoints that must answer."""

_DAY_MS: Final = 86_400_000
_RESOLUTION_MS: Final[dict[Unit, float]] = {"s": 1_000, "ms": 1, "us": 0, "ns": 0, "iso": 1_000}


def known() -> list[str]:
    """Return the names of the presets that come with Outrider."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(keys: Keys, key: str) -> Preset:
    """Return the preset that a key of the settings names. Raises ConfigError.

    It is a name of :func:`known`, the path of a file, or the preset itself as a table.
    """
    named = keys.value(key)
    if isinstance(named, dict):
        return read(keys.inside(named, key))
    if isinstance(named, str) and named.startswith("/"):
        return _from_text(named, read_text(Path(named)))
    if isinstance(named, str) and named in known():
        file = resources.files(__package__).joinpath(f"{named}.toml")
        return _from_text(f"{named}.toml", file.read_text(encoding="utf-8"))
    near = suggest(str(named), known())
    hint = f"did you mean `{near}`? " if near else ""
    others = "or the whole path of a file of yours"
    raise keys.mistake(
        key, f"no exchange `{str(named)[:100]}`", f"{hint}One of: {', '.join(known())}; {others}"
    )


def _from_text(file: str, text: str) -> Preset:
    source = Source(file, text)
    return read(Keys(parse(source), source, ()))


def read(keys: Keys) -> Preset:
    """Return the preset that a table holds. Raises ConfigError."""
    preset = Preset(
        name=keys.text("name"),
        base_url=whole_url(keys, "base_url"),
        reach=tuple(map(_reach, keys.tables("reach"))),
        time=_time(keys.table("time")) if keys.has("time") else None,
        announced=_announced(keys.table("announced")) if keys.has("announced") else None,
        throttled=_throttled(keys.table("throttled")),
        weight=_weight(keys.table("weight")) if keys.has("weight") else None,
    )
    if not 1 <= len(preset.reach) <= MAX_REACH:
        raise keys.mistake("reach", f"{len(preset.reach)} entries", f"1 to {MAX_REACH}")
    keys.finish()
    return preset


def whole_url(keys: Keys, key: str, default: str | None = None) -> str:
    """Return an http or https URL. Raises ConfigError."""
    value = keys.text(key, default)
    try:
        if value:
            checked(value)
    except ReachError as error:
        raise keys.mistake(key, error.reason, "write it like https://api.example.com") from None
    return value


def _reach(keys: Keys) -> Endpoint:
    endpoint = _endpoint(keys)
    keys.finish()
    return endpoint


def _endpoint(keys: Keys) -> Endpoint:
    """Read what every endpoint has."""
    url = keys.text("url")
    ok = keys.table("ok")
    return Endpoint(
        url=url if url.startswith("/") else whole_url(keys, "url"),
        ok=tuple((path, ok.value(path)) for path in ok.names()),
        has=keys.texts("has"),
    )


def _time(keys: Keys) -> Time:
    unit = cast("Unit", keys.choice("unit", UNITS))
    time = Time(
        endpoint=_endpoint(keys),
        at=keys.text("at"),
        unit=unit,
        resolution_ms=keys.number("resolution_ms", _RESOLUTION_MS[unit], 0, 60_000),
        every_s=keys.seconds("every", "1m", "1s", "1h"),
        ahead_ms=_number_or_none(keys, "ahead_ms"),
        behind_ms=_number_or_none(keys, "behind_ms"),
    )
    keys.finish()
    return time


def _number_or_none(keys: Keys, key: str) -> float | None:
    return keys.number(key, None, 1, _DAY_MS) if keys.has(key) else None


def _announced(keys: Keys) -> Announced:
    words = keys.table("words")
    announced = Announced(
        endpoint=_endpoint(keys),
        at=keys.text("at"),
        words={said: Mode(words.choice(said, list(Mode))) for said in words.names()},
        every_s=keys.seconds("every", "1m", "1s", "1h"),
        list=keys.text("list", ""),
        only=_choices(keys.table("only")),
        partly=_choices(keys.table("partly")),
        title=keys.text("title", ""),
        begin=keys.text("begin", ""),
        end=keys.text("end", ""),
        unit=cast("Unit", keys.choice("unit", UNITS, "ms")),
    )
    if not announced.words:
        raise keys.mistake("words", "it says what no word means", 'such as { online = "ONLINE" }')
    for key in ("only", "partly"):
        if keys.has(key) and not announced.list:
            raise keys.mistake(key, "it is about entries of a list", "add `list`")
    keys.finish()
    return announced


def _choices(keys: Keys) -> Mapping[str, tuple[str, ...]]:
    """Read ``{ path = ["a", "b"] }``; what an answer writes as a number may be one here."""
    return {
        path: tuple(_word(keys, path, one) for one in keys.values(path, ()))
        for path in keys.names()
    }


def _word(keys: Keys, path: str, value: Any) -> str:
    read_as = word(value)
    if read_as is None:
        raise keys.mistake(path, "a list of texts or whole numbers is expected", 'such as ["1"]')
    return read_as


def _throttled(keys: Keys) -> Throttled:
    usual = Throttled()
    status = keys.values("status", sorted(usual.status))
    if not all(isinstance(one, int) and 400 <= one < 600 for one in status):
        raise keys.mistake("status", "a list of HTTP statuses from 400 to 599 is expected")
    throttled = Throttled(
        status=frozenset(status),
        texts=keys.texts("texts"),
        wait_s=keys.seconds("wait", f"{usual.wait_s:.0f}s", "1s", "1d"),
    )
    keys.finish()
    return throttled


def _weight(keys: Keys) -> Weight:
    weight = Weight(
        header=keys.text("header").lower(),
        limit=keys.integer("limit", None, 1, 1_000_000_000),
    )
    keys.finish()
    return weight
