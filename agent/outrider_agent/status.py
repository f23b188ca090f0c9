"""``outrider agent status``: how the running agent is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from outrider import durations
from outrider.command import DONE, FOUND
from outrider.configuration import ConfigError
from outrider.probes.spec import MAX_THREADS
from outrider.visible import visible
from outrider_agent import audit_heads, control

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider_agent.account import Account, FileAccount
    from outrider_agent.audit_heads import AuditHead
    from outrider_agent.configuration import Configuration

_SHOWN = 20
_WORTH_BYTES = 1_000_000


def asked(config: Configuration, question: control.Question) -> Account | None:
    """Ask the running agent; None where none runs. Raises ConfigError where it may not be asked."""
    try:
        return control.ask(config.state_dir, question)
    except PermissionError:
        raise ConfigError(
            "this account may not ask the agent",
            str(config.state_dir),
            "use the agent's own account, or root",
        ) from None
    except control.NoAnswer as error:
        raise ConfigError(
            f"the agent does not say how it is: {error}",
            str(config.state_dir),
            "ask again; if it stays so, look at what the agent writes itself",
        ) from None


def run(config: Configuration, write: Callable[[str], object], *, json: bool) -> int:
    """Print the running agent's account; 3 where none runs or something needs a hand."""
    account = asked(config, control.Question())
    if account is None:
        if json:
            write('{"running":false}\n')
        else:
            write(
                f"no agent uses {visible(str(config.state_dir))}: start one with `outrider agent`\n"
            )
        return FOUND
    if json:
        document = msgspec.to_builtins(account)
        write(control.encoded({"running": True, **document}).decode() + "\n")
    else:
        _print(account, audit_heads.read(config.state_dir), write)
    is_well = account.collector and not account.gap_count and not account.dropped_records
    return DONE if is_well else FOUND


def _print(account: Account, heads: Sequence[AuditHead], write: Callable[[str], object]) -> None:
    up_s = (account.now_us - account.started_us) / 1e6
    write(f"agent        {account.version}, process {account.pid}, for {durations.said(up_s)}\n")
    if account.collector:
        write(f"collector    {account.collector}\n")
    else:
        write(f"collector    none: trying {', '.join(account.collectors)}\n")
    acknowledged = "never"
    if account.last_ack_us:
        acknowledged = f"{durations.said((account.now_us - account.last_ack_us) / 1e6)} ago"
    write(f"last ack     {acknowledged}\n")
    used, of = size(account.window_used_bytes), size(account.window_bytes)
    write(f"window       {used} of {of} read and not acknowledged\n")
    waiting = f", {account.waiting_count} not yet streams" if account.waiting_count else ""
    closed = f", {account.closed_count} of them closed in turns" if account.closed_count else ""
    write(f"files        {account.file_count} followed{closed}{waiting}\n")
    deleted = account.deleted_bytes
    held = f", {size(deleted)} of it in files without a name" if deleted else ""
    write(f"backlog      {size(account.backlog_bytes)}{_pace(account)}{held}\n")
    if account.dropped_records:
        write(f"dropped      {account.dropped_records:,} records: more waited than may\n")
    pending = account.pending_gaps
    more = f", {pending} not stored yet" if pending else ""
    write(f"gaps         {account.gap_count} since the start{more}\n")
    for gap in account.gaps:
        least = "at least " if gap.at_least else ""
        write(f"  {gap.reason}: {visible(gap.path)}: {least}{gap.records} records\n")
    if account.bug_count:
        write(f"bugs         {account.bug_count} ended a session\n")
    for trouble in account.troubles:
        write(f"said         {visible(trouble)}\n")
    if account.probe_threads_held >= MAX_THREADS:
        write(f"probes       all {MAX_THREADS} threads are held by a look; the others wait\n")
    for probe in account.probes:
        ago = "never looked"
        if probe.checked_ms is not None:
            ago = f"looked {durations.said(probe.checked_ms / 1000)} ago"
        reason = f": {visible(probe.reason)}" if probe.reason else ""
        write(f"probe        {probe.name}: {probe.state or 'not decided'}{reason} ({ago})\n")
    if heads:
        write(f"audit head   {heads[-1]}, since {heads[-1].heard_at}\n")
    _print_files(account.files, write)


def _pace(account: Account) -> str:
    """Say how fast a backlog goes, and when it is over; nothing of one that is no more than fresh.

    ``, 41.0 MB a second, about 1 h 16 min``
    """
    if account.backlog_bytes < _WORTH_BYTES or not account.delivered_bytes_per_s:
        return ""
    rate = f", {size(account.delivered_bytes_per_s)} a second"
    if not account.backlog_left_s:
        return f"{rate}, and it does not shrink"
    return f"{rate}, about {durations.said(account.backlog_left_s)}"


def _print_files(files: list[FileAccount], write: Callable[[str], object]) -> None:
    write("\n")
    for file in files[:_SHOWN]:
        behind = "up to date"
        if file.behind_bytes:
            behind = (
                f"{size(file.behind_bytes)} behind, for {durations.said(file.behind_ms / 1000)}"
            )
        note = "" if file.state == "followed" else f", {file.state}"
        note += ", without a name" if file.deleted else "" if file.found else ", moved away"
        write(f"{visible(file.path)}: {behind}{note}\n")
    if len(files) > _SHOWN:
        write(f"and {len(files) - _SHOWN} more; --json has them\n")


def size(count: int) -> str:
    """Write a number of bytes for people."""
    if count < 10_000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for unit in ("kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.1f} {unit}"
