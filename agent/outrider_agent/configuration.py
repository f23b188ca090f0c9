"""The table ``[agent]`` of outrider.toml; every key works, later ones are unknown until then."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from outrider import configuration, severity
from outrider.addresses import is_loopback
from outrider.configuration import ConfigError, Source, suggest
from outrider.durations import microseconds
from outrider.places import COLLECTOR_ADDRESS
from outrider_agent import encodings, multiline, probe_kinds, shedding
from outrider_agent.expected import Expected
from outrider_agent.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.probes.spec import Spec

FORMAT_NAMES = ("auto", "json", "plain", *FORMATS)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[agent.source]]``: files that are followed, and what their lines are."""

    paths: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]
    """Globs; ``**`` for any depth."""
    exclude: tuple[str, ...] = ()
    """Globs of files to be left alone."""
    service: Name
    worker: Name | None = None
    """Default: the file's name without its extension."""
    format: str = "auto"
    """``auto``, ``json``, ``plain`` or a named format."""
    multiline: str = "off"
    """Which lines continue a record: ``off``, ``auto``, ``indented``, or a pattern (``^...``)."""
    encoding: str = "utf-8"
    """Of the lines: a name such as ``latin-1``, see :mod:`outrider_agent.encodings`."""
    timezone: str = "local"
    """For times that name no zone: ``local``, ``UTC`` or a name such as ``Europe/Berlin``."""
    start: str = "beginning"
    """Where files found at the first start begin: ``beginning``, ``end``, or an age (``1h``)."""
    backlog_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 0
    """At most so much of its files may wait to be read; 0: as much as there is."""
    when_full: Literal["drop_oldest", "drop_by_severity", "block"] = "drop_oldest"
    """What is given up beyond `backlog_bytes`; of deleted files beyond the agent's limits the
    oldest go whole, unless it is ``block``."""
    keep_severity: str = "warn"
    """With ``drop_by_severity``: what is less severe goes first."""

    def kept_from(self) -> int:
        """Return the least severity that is kept when the source is full. ValueError for no word.

        0 where all is kept.
        """
        if self.when_full != "drop_by_severity":
            return 0 if self.when_full == "block" else shedding.ALL
        kept = severity.parse(self.keep_severity)
        if kept is None:
            raise ValueError(self.keep_severity)
        return kept

    def start_age_s(self) -> int | None:
        """Age in seconds that ``start`` gives; None for the words. ValueError for anything else."""
        return None if self.start in {"beginning", "end"} else microseconds(self.start) // 1_000_000

    def zone(self) -> tzinfo:
        """Return the zone of times without one."""
        return zone(self.timezone)


class ExpectConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[agent.expect]]``: a worker that must be on this host."""

    service: Name
    worker: Name
    within: str = "2m"
    """So long after the agent began to look it may still be on its way."""

    def expected(self) -> Expected:
        """Return it as it is looked for. ValueError where ``within`` is no length of time."""
        return Expected(self.service, self.worker, microseconds(self.within) / 1e6)


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent of one host."""

    collectors: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)] = (
        COLLECTOR_ADDRESS,
    )
    """Tried in order. Loopback only: this version speaks plain text."""
    state_dir: str = ""
    """Private directory; default: ``agent`` in the data directory."""
    inbox: str = ""
    """Shared directory of those who log; default: see :func:`outrider.configuration.inbox`."""
    token_file: str = ""
    """File with the enrolment secret; default: ``collector/enroll.token`` in the data directory."""
    host: Annotated[str, msgspec.Meta(max_length=255)] = ""
    """Name of this host; default: what the system says."""
    window_bytes: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 30)] = 4 << 20
    """At most so many bytes are read and not acknowledged."""
    backfill_bytes_per_s: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 0
    """Files that are behind are read no faster, all together; 0: as fast as it goes."""
    kept_tail_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 64 << 20
    """So much of what was delivered from the inbox is kept, in case the database forgets."""
    retire_after_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    """A segment of the inbox that no process took over for so long is put away, seconds."""
    max_files: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 8192
    """At most so many files are followed at once."""
    held_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 256 << 20
    """At most so much that is not delivered is held of files that were deleted."""
    inbox_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 8 << 30
    """At most so much of the inbox may wait to be delivered; then workers write no more to it."""
    keep_free_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 0
    """So much is left free for others on the file systems of deleted files and of the inbox."""
    source: tuple[SourceConfig, ...] = ()
    expect: Annotated[tuple[ExpectConfig, ...], msgspec.Meta(max_length=1000)] = ()
    probe: tuple[dict[str, Any], ...] = ()
    """What is looked at; the keys are each kind's own, see :mod:`outrider.probes.spec`."""
    probe_networks: tuple[str, ...] = ()
    """Networks, besides public addresses, that probes may reach."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that an agent process is told, with paths resolved."""

    agent: AgentConfig
    state_dir: Path
    inbox: Path
    token_file: Path
    host: str
    probes: tuple[Spec[Any], ...] = ()


def load(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read and check the configuration. Raises ConfigError."""
    tables = configuration.load(
        path, msgspec.convert, {"data_dir": str, "agent": AgentConfig}, environ=environ
    )
    agent: AgentConfig = tables["agent"]
    data_dir_text = tables.get("data_dir") or ""
    text = configuration.read_source(path, environ)
    for index, source in enumerate(agent.source):
        _check_source(source, text, ("agent", "source", index))
    for index, expect in enumerate(agent.expect):
        _check_expect(expect, text.where(("agent", "expect", index, "within")))
    for address in agent.collectors:
        _check_address(address, text.where(("agent", "collectors")))
    probes = probe_kinds.read(agent.probe, agent.probe_networks, text)
    data_dir = Path(data_dir_text or configuration.default_data_dir(environ))
    return Configuration(
        agent=agent,
        state_dir=Path(agent.state_dir or data_dir / "agent"),
        inbox=configuration.inbox_of(agent.inbox, data_dir_text, environ),
        token_file=Path(agent.token_file or data_dir / "collector" / "enroll.token"),
        host=agent.host or socket.gethostname(),
        probes=probes,
    )


def _check_expect(expect: ExpectConfig, where: str) -> None:
    try:
        expect.expected()
    except ValueError as error:
        raise ConfigError(f"`within`: {error}", where, "write a length like 2m or 1h") from None


def zone(name: str) -> tzinfo:
    """Return a zone by its name. Raises ZoneInfoNotFoundError or ValueError."""
    if name == "UTC":
        return UTC
    if name == "local":
        return _local()
    return ZoneInfo(name)


def _local() -> tzinfo:
    """Return the host's zone with its rules; UTC where it cannot be found out."""
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):
        return UTC


def _check_source(source: SourceConfig, text: Source, path: tuple[str | int, ...]) -> None:
    def at(key: str) -> str:
        return f"{text.where((*path, key))}: {configuration.dotted((*path, key))}"

    if source.format not in FORMAT_NAMES:
        near = suggest(source.format, FORMAT_NAMES)
        hint = f"did you mean `{near}`?" if near else f"known: {', '.join(FORMAT_NAMES)}"
        raise ConfigError(f"unknown format `{source.format}`", at("format"), hint)
    try:
        source.start_age_s()
    except ValueError:
        raise ConfigError(
            f"`{source.start}` is no start",
            at("start"),
            'write "beginning", "end" or an age such as "1h"',
        ) from None
    _check_multiline(source.multiline, at("multiline"))
    try:
        source.kept_from()
    except ValueError:
        raise ConfigError(
            f"`{source.keep_severity}` is no severity",
            at("keep_severity"),
            "write one of trace, debug, info, warn, error, fatal",
        ) from None
    try:
        encodings.canonical(source.encoding)
    except LookupError:
        raise ConfigError(
            f"`{source.encoding}` is no encoding of lines that is known",
            at("encoding"),
            'write a name such as "latin-1", "cp1252", "gb18030" or "utf-16"',
        ) from None
    try:
        source.zone()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"unknown time zone `{source.timezone}`",
            at("timezone"),
            'write "local", "UTC" or a name such as "Europe/Berlin"',
        ) from None
    for name in source.paths:
        if not name.startswith("/"):
            raise ConfigError(f"`{name}` is no absolute path", at("paths"), "begin it with a slash")


def _check_multiline(name: str, where: str) -> None:
    try:
        multiline.rule(name)
    except ImportError:
        raise ConfigError(
            "patterns of lines need RE2",
            where,
            "install the distribution with its extra `agent`",
        ) from None
    except ValueError as error:
        hint = f"RE2 does not know it: {error}" if name.startswith("^") else ""
        raise ConfigError(
            f"`{name}` says nothing about lines",
            where,
            hint or 'write "off", "auto", "indented", or how a first line begins: "^..."',
        ) from None


def _check_address(address: str, where: str) -> None:
    if address.startswith("unix:"):
        return
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(
            f"`{address}` is no address",
            where,
            f"write host:port, such as {COLLECTOR_ADDRESS}",
        )
    if not is_loopback(host.strip("[]")):
        raise ConfigError(
            f"`{address}` is on another host, and this version speaks plain text only",
            where,
            "use 127.0.0.1 with an SSH tunnel or a VPN's local end",
        )
