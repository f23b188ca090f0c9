"""The collector's configuration: [database], [collector], [retention] and [store] of outrider.toml.

Every key works; a key for a later version is an unknown key now. Durations are written as people
say them ("30s", "3d"). What cannot be right by itself (an address that others can reach, without
TLS) is refused here, before anything is opened.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from outrider import configuration
from outrider.addresses import is_loopback
from outrider.configuration import ConfigError
from outrider.places import COLLECTOR_ADDRESS
from outrider.sizes import size_bytes
from outrider_alerting.durations import Duration
from outrider_collector import probe_kinds
from outrider_collector.store.budget.limits import Wanted
from outrider_collector.store.budget.services import Quota
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.database_url import DatabaseConfig, database_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.probes.spec import Spec
    from outrider_collector.store.compaction.classes import Retention


HTTP_LISTEN = "127.0.0.1:4511"
"""Where a collector serves its figures unless it is told otherwise."""


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One collector process."""

    listen: str = COLLECTOR_ADDRESS
    """Address of the gRPC server; port 0 takes a free one. Loopback only: there is no TLS yet."""
    http_listen: str | None = None
    """Where /healthz, /readyz and /metrics are, loopback only; "": nowhere. Absent: HTTP_LISTEN,
    or nowhere where another process has it."""
    name: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """Names this collector among others; stays the same over restarts. Empty: host:port."""
    memory_bytes: Annotated[int, msgspec.Meta(ge=16 << 20, le=64 << 30)] = 256 << 20
    """All that is held of agents' batches before they are committed."""
    flush_interval: Duration = Duration("100ms")
    """The least time agents gather a batch; longer by itself when there are many streams."""
    heartbeat_interval: Duration = Duration("10s")
    """How often agents send a heartbeat."""
    reconnect_grace: Duration = Duration("60s")
    """After its own absence a collector waits so long before it calls anybody silent."""
    probe: tuple[dict[str, Any], ...] = ()
    """What this collector looks at; the keys are each kind's own."""
    probe_networks: tuple[str, ...] = ()
    """Networks, besides public addresses, that probes may reach."""

    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``; ConfigError when it is no loopback address."""
        who = "let agents on other hosts come by an SSH tunnel or a VPN's local end"
        return _loopback("collector.listen", self.listen, who)

    def http_address(self) -> tuple[str, int] | None:
        """Host and port of the figures, None where there are none; ConfigError as ``address``."""
        listen = HTTP_LISTEN if self.http_listen is None else self.http_listen
        if not listen:
            return None
        who = "let what scrapes run on this host, or come by a tunnel"
        host, port = _loopback("collector.http_listen", listen, who)
        return host.strip("[]"), port


def is_reached(listen: str, collectors: Sequence[str]) -> bool:
    """Whether an agent of this host that is told ``collectors`` finds a collector on ``listen``.

    A socket's path, and port 0, may lead anywhere.
    """
    port = listen.rpartition(":")[2]
    return port == "0" or any(
        address.startswith("unix:") or address.rpartition(":")[2] == port for address in collectors
    )


def _loopback(key: str, listen: str, who: str) -> tuple[str, int]:
    """Return host and port of a key's value. Raises ConfigError when others could reach it."""
    host, separator, port = listen.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None
    if not separator or number is None or number > 65_535:
        raise ConfigError(
            f"`{key}`: {listen!r} is no address",
            what_to_do=f"write host:port, such as {COLLECTOR_ADDRESS}",
        )
    if not is_loopback(host.strip("[]")):
        raise ConfigError(
            f"`{key}`: {listen} can be reached from other hosts, and this version speaks plain "
            "text only",
            what_to_do=f"listen on 127.0.0.1 and {who}",
        )
    return host, number


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the records of each class are kept at least, counted from their arrival."""

    debug: Duration = Duration("3d")
    """Records below INFO, unless their event says another class."""
    app: Duration = Duration("30d")
    """All records that are of no other class."""
    ops: Duration = Duration("30d")
    """Events of workers, jobs, exchanges, databases, networks and of Outrider itself."""
    security: Duration = Duration("400d")
    """Events of logins and tokens."""
    audit: Duration = Duration("400d")
    """Events of orders, positions, strategies, users, configuration and alerts."""

    def by_class(self) -> Retention:
        """Return the retention of each class of records."""
        return {
            record_class: timedelta(microseconds=getattr(self, record_class.label).us)
            for record_class in RecordClass
        }


_A_DAY = "/day"
LEAST_BUDGET_BYTES = 32_000_000
"""An empty database takes some of it, and its write-ahead log more."""


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a service may write a day before it is told of; empty: any amount."""

    default: str = ""
    """Of every service that is not named: "2GB/day"."""
    services: dict[str, str] = {}
    """Of single services, by their names."""

    def __post_init__(self) -> None:
        self.quota()

    def quota(self) -> Quota:
        """Return it in bytes."""
        named = {service: _a_day_bytes(text) for service, text in self.services.items()}
        return Quota(_a_day_bytes(self.default) if self.default else 0, named)


def _a_day_bytes(text: str) -> int:
    if not text.endswith(_A_DAY):
        raise ValueError(f"`{text}` is no quota, write it like 2GB/day")
    return size_bytes(text.removesuffix(_A_DAY))


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much room there is, how blocks are compacted, and who hears of the audit log."""

    disk_budget: str = ""
    """What the database may take: "200GB", or "off". Empty: its disk, where that can be seen."""
    quota: QuotaConfig = msgspec.field(default_factory=QuotaConfig)
    """How much services may write."""

    compact: bool = True
    """Whether this collector has a compactor; of several, one acts at a time."""
    compact_after: Duration = Duration("2m")
    """Younger blocks are not touched; at least 1m, which live views count on."""
    compact_share: Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] = 0.5
    """Of the time that compaction may take; the rest is rest."""
    audit_channel: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """Channel of the rules that gets the newest head of the audit log once a day; empty: none."""

    def __post_init__(self) -> None:
        if self.compact_after.us < 60_000_000:
            raise ValueError(f"`compact_after` is at least 1m, and not {self.compact_after}")
        try:
            limit_bytes, least = self.wanted().limit_bytes, LEAST_BUDGET_BYTES
        except ValueError as error:
            raise ValueError(f"`disk_budget`: {error}") from None
        if limit_bytes is not None and limit_bytes < least:
            raise ValueError(f"`disk_budget` is at least {least // 10**6}MB")

    def wanted(self) -> Wanted:
        """Return what is said of the disk budget. Raises ValueError for what is no size."""
        if self.disk_budget in {"", "off"}:
            return Wanted(is_off=self.disk_budget == "off")
        return Wanted(size_bytes(self.disk_budget))


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a collector process is told."""

    data_dir: Path
    database_url: str
    collector: CollectorConfig
    retention: RetentionConfig
    store: StoreConfig = field(default_factory=StoreConfig)
    probes: tuple[Spec[Any], ...] = ()

    @property
    def collector_name(self) -> str:
        """The configured name, else host:port, which is the same after a restart."""
        return self.collector.name or f"{socket.gethostname()}:{self.collector.address()[1]}"


def load(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read the configuration file and the environment. Raises ConfigError."""
    tables = configuration.load(
        path,
        _convert,
        {
            "data_dir": str,
            "database": DatabaseConfig,
            "collector": CollectorConfig,
            "retention": RetentionConfig,
            "store": StoreConfig,
        },
        environ=environ,
    )
    collector: CollectorConfig = tables["collector"]
    source = configuration.read_source(path, environ)
    for key, address in (("listen", collector.address), ("http_listen", collector.http_address)):
        try:
            address()
        except ConfigError as error:
            where = source.where(("collector", key))
            raise ConfigError(error.what, where, error.what_to_do) from None
    data_dir = Path(tables.get("data_dir") or configuration.default_data_dir(environ))
    url = database_url(tables["database"], data_dir, environ)
    probes = probe_kinds.read(collector.probe, collector.probe_networks, source, url)
    return Configuration(data_dir, url, collector, tables["retention"], tables["store"], probes)


def _convert(value: Any, *, type: Any) -> Any:  # noqa: A002  msgspec's own parameter name
    return msgspec.convert(value, type=type, dec_hook=_duration)


def _duration(shape: type, value: Any) -> Duration:
    if shape is not Duration or not isinstance(value, str):
        raise TypeError(f"expected a duration such as 30s, got {value!r}")
    return Duration(value)
