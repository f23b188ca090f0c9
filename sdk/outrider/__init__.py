"""Outrider's SDK: log records, events and progress from a worker to its agent, through a file.

    import outrider

    outrider.init(service="payments")
    log = outrider.get_logger(__name__)
    log.info("charged", order_id=42)

A record whose call returned survives the process, whatever ends it. No thread, no socket, nothing
to flush; the standard library only.
"""

from outrider.client import init
from outrider.context import context
from outrider.errors import Fault, Reason, RetryClass
from outrider.handler import Handler
from outrider.logger import Logger, audit, event, get_logger, progress

__all__ = [
    "Fault",
    "Handler",
    "Logger",
    "Reason",
    "RetryClass",
    "audit",
    "context",
    "event",
    "get_logger",
    "init",
    "progress",
]
