"""AdminService: acts of people. Each is done by the store, which also records it.

The interceptor has checked the admin token; who acts is what the caller says, because who holds the
token of the collector's host may act in anybody's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.instants import from_us
from outrider_collector.service.errors import guarded
from outrider_collector.store import acts, rules, trials
from outrider_protos.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    import grpc

    from outrider_collector.ingest.links import Links

    AnyContext = grpc.aio.ServicerContext[Any, Any]

APPLY_WITHIN_S = 10.0


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Acknowledge, silence, apply rules, retire workers."""

    def __init__(self, links: Links, collector: str) -> None:
        self._links = links
        self._collector = collector

    @guarded
    async def AcknowledgeAlert(  # noqa: N802  wire name
        self, request: admin_pb2.AcknowledgeAlertRequest, context: AnyContext
    ) -> admin_pb2.AcknowledgeAlertResponse:
        """Say that somebody looks after an alert."""
        del context
        async with self._links.use() as connection:
            done = await acts.acknowledge(
                connection, request.alert_id, request.actor, request.comment
            )
        return admin_pb2.AcknowledgeAlertResponse(changed=done.changed, actor=done.actor)

    @guarded
    async def AddSilence(  # noqa: N802  wire name
        self, request: admin_pb2.AddSilenceRequest, context: AnyContext
    ) -> admin_pb2.AddSilenceResponse:
        """Keep alerts that match from being told for a time."""
        del context
        async with self._links.use() as connection:
            done = await acts.add_silence(
                connection,
                filter_text=request.filter,
                starts_at=from_us(request.starts_us) if request.starts_us else None,
                ends_at=from_us(request.ends_us),
                actor=request.actor,
                comment=request.comment,
                weekly=_weekly(request),
            )
        return admin_pb2.AddSilenceResponse(silence_id=done.silence, alert_ids=done.alerts)

    @guarded
    async def EndSilence(  # noqa: N802  wire name
        self, request: admin_pb2.EndSilenceRequest, context: AnyContext
    ) -> admin_pb2.EndSilenceResponse:
        """End a silence before its time."""
        del context
        async with self._links.use() as connection:
            changed = await acts.end_silence(connection, request.silence_id, request.actor)
        return admin_pb2.EndSilenceResponse(changed=changed)

    @guarded
    async def ApplyRules(  # noqa: N802  wire name
        self, request: admin_pb2.ApplyRulesRequest, context: AnyContext
    ) -> admin_pb2.ApplyRulesResponse:
        """Make a directory of rules the active set, or say what would change."""
        del context
        files = {file.name: file.toml for file in request.files}
        async with self._links.use() as connection:
            if request.dry_run:
                applied = await rules.preview(connection, files)
            else:
                applied = await rules.apply(
                    connection, files, request.actor, within_s=APPLY_WITHIN_S
                )
        return admin_pb2.ApplyRulesResponse(version=applied.version, **applied.changes._asdict())

    @guarded
    async def RetireWorker(  # noqa: N802  wire name
        self, request: admin_pb2.RetireWorkerRequest, context: AnyContext
    ) -> admin_pb2.RetireWorkerResponse:
        """Say that a worker ended for good."""
        del context
        async with self._links.use() as connection:
            changed = await acts.retire_worker(connection, request.name, request.actor)
        return admin_pb2.RetireWorkerResponse(changed=changed)

    @guarded
    async def TestChannel(  # noqa: N802  wire name
        self, request: admin_pb2.TestChannelRequest, context: AnyContext
    ) -> admin_pb2.TestChannelResponse:
        """Send a message through a channel; its fate is told by the ledger."""
        del context
        async with self._links.use() as connection:
            number = await trials.add(connection, request.channel, request.actor, self._collector)
        return admin_pb2.TestChannelResponse(notification_id=number)


def _weekly(request: admin_pb2.AddSilenceRequest) -> acts.Weekly | None:
    if not request.schedule:
        return None
    return acts.Weekly(request.schedule, request.timezone or "UTC", request.quiet_hours)
