"""The other side of AdminService: how the command line acts.

Acts need a running collector of this host and its admin token; reading needs neither. What the
collector refuses comes back as the fault that it raised, by its reason in the trailing metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from outrider.configuration import ConfigError, read_secret
from outrider.errors import Fault, Reason
from outrider_collector.service.errors import REASON_KEY, RETRY_AFTER_KEY
from outrider_collector.service.tokens import ADMIN_FILE
from outrider_protos.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from outrider_collector.config import Configuration
    from outrider_collector.store.acts import Weekly

CALL_TIMEOUT_S = 15.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying rules did, or would do."""

    version: int
    added: list[str]
    changed: list[str]
    removed: list[str]


class AdminClient:
    """A connection to the collector of this host, for one command."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._channel = grpc.aio.insecure_channel(address)
        # The generated stub has no annotations.
        self._stub: Any = admin_pb2_grpc.AdminServiceStub(self._channel)  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, config: Configuration) -> Self:
        """Make the client for a configured collector. Raises ConfigError without its token."""
        path = config.data_dir / "collector" / ADMIN_FILE
        return cls(config.collector.listen, admin_token(path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def acknowledge(self, alert: int, actor: str, comment: str) -> tuple[bool, str]:
        """Acknowledge an alert; returns whether this did it, and who has done it."""
        request = admin_pb2.AcknowledgeAlertRequest(alert_id=alert, actor=actor, comment=comment)
        done = await self._call(self._stub.AcknowledgeAlert(request, **self._options()))
        return done.changed, done.actor

    async def add_silence(
        self,
        *,
        text: str,
        starts_us: int,
        ends_us: int,
        actor: str,
        comment: str,
        weekly: Weekly | None = None,
    ) -> tuple[int, list[int]]:
        """Add a silence; returns its id and the open alerts that it hits."""
        request = admin_pb2.AddSilenceRequest(
            filter=text,
            starts_us=starts_us,
            ends_us=ends_us,
            actor=actor,
            comment=comment,
            schedule=weekly.schedule if weekly else "",
            timezone=weekly.timezone if weekly else "",
            quiet_hours=weekly is not None and weekly.quiet_hours,
        )
        done = await self._call(self._stub.AddSilence(request, **self._options()))
        return done.silence_id, list(done.alert_ids)

    async def end_silence(self, silence: int, actor: str) -> bool:
        """End a silence; False when it had ended before."""
        request = admin_pb2.EndSilenceRequest(silence_id=silence, actor=actor)
        done = await self._call(self._stub.EndSilence(request, **self._options()))
        return bool(done.changed)

    async def test_channel(self, channel: str, actor: str) -> int:
        """Send a message through a channel; returns its row of the ledger."""
        request = admin_pb2.TestChannelRequest(channel=channel, actor=actor)
        done = await self._call(self._stub.TestChannel(request, **self._options()))
        return int(done.notification_id)

    async def retire_worker(self, name: str, actor: str) -> bool:
        """Say that a worker (service/worker@host) ended for good; False when it had before."""
        request = admin_pb2.RetireWorkerRequest(name=name, actor=actor)
        done = await self._call(self._stub.RetireWorker(request, **self._options()))
        return bool(done.changed)

    async def apply_rules(self, files: Mapping[str, str], actor: str) -> Applied:
        """Make these files the active rule set."""
        request = admin_pb2.ApplyRulesRequest(
            files=[
                admin_pb2.RuleFile(name=name, toml=toml) for name, toml in sorted(files.items())
            ],
            actor=actor,
        )
        done = await self._call(self._stub.ApplyRules(request, **self._options()))
        return Applied(done.version, list(done.added), list(done.changed), list(done.removed))

    def _options(self) -> dict[str, Any]:
        return {"metadata": self._metadata, "timeout": CALL_TIMEOUT_S}

    async def _call(self, call: Awaitable[_T]) -> _T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._fault(error) from None

    def _fault(self, error: grpc.aio.AioRpcError) -> Fault:
        metadata = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
        text = error.details() or error.code().name
        if (reason := metadata.get(REASON_KEY)) is not None:
            after_ms = metadata.get(RETRY_AFTER_KEY)
            return Fault(
                reason, detail=text, retry_after_s=int(after_ms) / 1000 if after_ms else None
            )
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return Fault(
                Reason.COLLECTOR_UNREACHABLE,
                detail=f"no collector answers: {self._address}: start it (outrider up), "
                "or name its configuration with --config",
            )
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Fault(
                Reason.COLLECTOR_BUSY,
                detail=f"the collector did not answer within {CALL_TIMEOUT_S:g} s: "
                f"{self._address}: look whether it was done before you try again",
            )
        return Fault(Reason.INTERNAL_BUG, detail=f"the call failed: {self._address}: {text}")


def admin_token(path: Path) -> str:
    """Read the admin token. Raises ConfigError."""
    try:
        return read_secret(path)
    except ConfigError as error:
        raise ConfigError(
            "cannot read the admin token of the collector",
            str(path),
            "run this on the collector's host, as an account that may read the file; the "
            "collector makes it at its first start",
        ) from error
