"""What the configuration says of a probe, read from ``[[agent.probe]]`` or ``[[collector.probe]]``.

Every probe has ``name``, ``kind``, ``every``, ``timeout``, ``rise`` and ``fall``; the other keys
are its kind's. All of it is checked when the file is read, so that a probe that runs can only fail
for what it looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from outrider.addresses import may_reach, networks
from outrider.probes.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outrider.addresses import Network
    from outrider.configuration import Source
    from outrider.probes.deadline import Deadline
    from outrider.probes.result import Result
    from outrider.toml_lines import KeyPath

MAX_PROBES = 500
"""Of one agent or collector: what a heartbeat carries."""
MAX_NAME_CHARACTERS = 100
MAX_THREADS = 4
"""That look at a time, in one process."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spec(Generic[T]):
    """One probe as configured."""

    name: str
    kind: Kind[T]
    every_s: float
    timeout_s: float
    rise: int
    """So many good looks in a row make it better ..."""
    fall: int
    """... and so many bad ones worse."""
    target: T
    """The kind's own keys."""
    networks: tuple[Network, ...] = ()
    """What it may reach besides public addresses."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of probe: how its keys are read, and how it looks."""

    name: str
    read: Callable[[Keys, tuple[Network, ...]], T]
    """Raises ConfigError. The networks are those that may be reached besides public addresses."""
    look: Callable[[Spec[T], Deadline], Result]
    """Blocks, at most until the deadline. Raises ReachError, TimeoutError."""
    group: str = "probe"
    """The component kind that it reports as."""
    needs_tls: bool = False
    """Whether it loads ``ssl``."""
    named: Callable[[T], str] | None = None
    """What a probe without ``name`` is called."""


def read(
    tables: Sequence[Mapping[str, Any]],
    source: Source,
    path: KeyPath,
    kinds: Mapping[str, Callable[[], Kind[Any]]],
    *,
    allowed: Sequence[str] = (),
    elsewhere: Mapping[str, str] | None = None,
) -> tuple[Spec[Any], ...]:
    """Read all probes of a part; ``path`` leads to their tables. Raises ConfigError.

    ``kinds`` are those that this part can run, loaded when one is asked for; ``elsewhere`` says of
    others what to do. ``allowed`` is the list ``probe_networks`` beside the tables.
    """
    within = _networks(allowed, source, path)
    specs: list[Spec[Any]] = []
    taken: set[tuple[str, str]] = set()
    if len(tables) > MAX_PROBES:
        raise Keys({}, source, path[:-1]).mistake(str(path[-1]), f"more than {MAX_PROBES} probes")
    for index, table in enumerate(tables):
        keys = Keys(table, source, (*path, index))
        spec = _read_one(keys, kinds, within, elsewhere or {})
        if (spec.kind.group, spec.name) in taken:
            raise keys.mistake("name", f"another probe is called `{spec.name}`", "choose another")
        taken.add((spec.kind.group, spec.name))
        specs.append(spec)
    return tuple(specs)


def _read_one(
    keys: Keys,
    kinds: Mapping[str, Callable[[], Kind[Any]]],
    within: tuple[Network, ...],
    elsewhere: Mapping[str, str],
) -> Spec[Any]:
    word = keys.choice("kind", [*kinds, *elsewhere])
    if word in elsewhere:
        raise keys.mistake("kind", f"`{word}` cannot be looked at from here", elsewhere[word])
    kind = kinds[word]()
    every_s = keys.seconds("every", "30s", "1s", "1d")
    timeout_s = keys.seconds("timeout", f"{int(min(every_s, 5.0))}s", "50ms", "60s")
    if timeout_s > every_s:
        raise keys.mistake("timeout", "it is longer than `every`", "a probe never overlaps itself")
    rise, fall = keys.integer("rise", 2, 1, 100), keys.integer("fall", 3, 1, 100)
    target = kind.read(keys, within)
    name = keys.text("name", kind.named(target) if kind.named is not None else None)
    if not name.isprintable() or not name or "@" in name or len(name) > MAX_NAME_CHARACTERS:
        what = f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters, and no @"
        raise keys.mistake("name", what)
    keys.finish()
    return Spec(name, kind, every_s, timeout_s, rise, fall, target, within)


def _networks(allowed: Sequence[str], source: Source, path: KeyPath) -> tuple[Network, ...]:
    try:
        return networks(allowed)
    except ValueError as error:
        keys = Keys({}, source, path[:-1])
        raise keys.mistake("probe_networks", str(error), "write 10.0.0.0/8, say") from None


def host_and_port(keys: Keys, key: str, within: tuple[Network, ...]) -> tuple[str, int]:
    """Read ``host:port`` or ``[::1]:port``. Raises ConfigError, also where it may not be reached.

    What a name means is found out at each look; an address is judged here already.
    """
    text = keys.text(key)
    host, separator, port = text.rpartition(":")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not separator or not host or not is_number or not 0 < int(port) < 65_536:
        raise keys.mistake(key, f"`{text}` is no host and port", "write it like db.example:5432")
    host = host.removeprefix("[").removesuffix("]")
    check_reach(keys, key, host, within)
    return host, int(port)


def check_reach(keys: Keys, key: str, host: str, within: tuple[Network, ...]) -> None:
    """Refuse an address that no probe may connect to. Raises ConfigError."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_open = may_reach(address, within)
    except ValueError:
        return
    if not is_open:
        raise keys.mistake(
            key,
            f"{host} is not a public address",
            f'if it is meant, add its network to `probe_networks`, such as ["{address}"]',
        )
