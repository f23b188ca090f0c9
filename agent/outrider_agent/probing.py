"""Probes of the agent: they run beside everything else, and heartbeats carry what they find."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from outrider.probes.runner import Runner
from outrider_agent.account import ProbeAccount
from outrider_protos.components import component_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outrider.probes.spec import Spec
    from outrider_agent.reports import Reports
    from outrider_protos.v1 import ingest_pb2


class Probing:
    """Runs the probes; see :class:`outrider.probes.runner.Runner`."""

    def __init__(
        self,
        specs: Iterable[Spec[Any]],
        host: str,
        reports: Reports,
        *,
        hurry: Callable[[], object],
    ) -> None:
        specs = list(specs)
        allow_tls(specs)
        self._reports = reports
        self._runner = Runner(specs, host, tell=self._tell, hurry=hurry)

    @property
    def held(self) -> int:
        """How many threads are in a look."""
        return self._runner.held

    async def run(self) -> None:
        """Run until cancelled."""
        await self._runner.run()

    def configure(self, specs: Iterable[Spec[Any]]) -> None:
        """Run these from now on."""
        specs = list(specs)
        allow_tls(specs)
        self._runner.configure(specs)

    def components(
        self, now_us: int, next_within_ms: int, *, everything: bool
    ) -> list[ingest_pb2.ComponentReport]:
        """Return what a heartbeat says of them: of all, or of those of which something is new."""
        return [
            component_report(report, now_us, next_within_ms)
            for report in self._runner.reports(everything=everything)
        ]

    def accounts(self) -> list[ProbeAccount]:
        """Return what ``outrider agent status`` says of them."""
        return [
            ProbeAccount(
                kind=report.key.group,
                name=report.key.name,
                state=report.verdict.state,
                reason=report.verdict.reason,
                checked_ms=None if ago_s is None else int(ago_s * 1_000),
            )
            for report in self._runner.look_up()
            for ago_s in (report.checked_ago_s,)
        ]

    def _tell(self, event: str, severity: int, message: str, attributes: dict[str, Any]) -> None:
        # Not by Reports.say, which holds repetitions back: each of these is history.
        if self._reports.sink is not None:
            self._reports.sink(event, severity, message, attributes)


def allow_tls(specs: Iterable[Spec[Any]]) -> None:
    """Take back that ``ssl`` cannot be imported (see ``cli``), where a probe needs it.

    What has done without it by then, asyncio, goes on so.
    """
    if any(spec.kind.needs_tls for spec in specs) and sys.modules.get("ssl", sys) is None:
        del sys.modules["ssl"]
