"""What the calls of the SDK write."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import logging.config
import threading
from typing import TYPE_CHECKING, Any

import pytest

import outrider
from outrider import client, severity

if TYPE_CHECKING:
    from collections.abc import Callable

log = outrider.get_logger("app.orders")


def fail(reason: str, **metadata: str) -> None:
    """Raise a fault."""
    fault = outrider.Fault(reason)
    fault.metadata.update(metadata)
    raise fault


def test_a_message_with_fields(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Keywords are attributes, the logger's name and the severity are in the record."""
    log.info("charged", order_id=42, amount="10.00")

    (record,) = logged()
    assert record.pop("ts").endswith("Z")
    assert record == {
        "severity": 9,
        "message": "charged",
        "logger": "app.orders",
        "attributes": {"order_id": 42, "amount": "10.00"},
    }


def test_every_level(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Each method has its severity; log() takes a word or a number."""
    client.current().level = severity.TRACE
    for method in (log.trace, log.debug, log.info, log.warning, log.error, log.critical):
        method("m")
    log.log("warn", "m")
    log.log(24, "m")

    assert [r["severity"] for r in logged()] == [1, 5, 9, 13, 17, 21, 13, 24]


def test_below_the_level_nothing_is_written(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """A call below the client's level does nothing; events are written all the same."""
    client.current().level = severity.ERROR
    log.info("no")
    log.event("worker.ready")

    assert [r["message"] for r in logged()] == ["worker.ready"]


def test_odd_calls_never_raise(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Arguments that do not fit, objects without text, fields with any name come to a record."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    log.info("%s and %s", 1)  # noqa: PLE1206  the mistake to be survived
    log.info("%d%%", 5)
    log.info(Broken())
    log.info(None, message="m", severity=3, self=1)
    log.error("bad", exc_info=(None, None, None))
    log.exception("nothing was raised")  # noqa: LOG004  the mistake to be survived

    texts = [r["message"] for r in logged()]
    assert texts == [
        "'%s and %s' (1,)", "5%", "<Broken without repr>", "None", "bad", "nothing was raised"
    ]  # fmt: skip
    assert logged()[3]["attributes"] == {"message": "m", "severity": 3, "self": 1}


def test_exceptions(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """An exception is its type, message and stack trace, without values of variables; a fault's
    reason is the error code.
    """
    password = "hunter2"  # noqa: F841  what must not be in the record
    try:
        fail("EXCHANGE_TIMEOUT", exchange="kraken")
    except outrider.Fault:
        log.exception("order failed", order_id=1)
    log.error("given", exc_info=ValueError("bad"))

    first, second = logged()
    assert first["error_code"] == "EXCHANGE_TIMEOUT"
    assert first["attributes"]["order_id"] == 1
    described = first["attributes"]["exception"]
    assert described["type"] == "outrider.errors.Fault"
    assert described["metadata"] == {"exchange": "kraken"}
    assert "test_exceptions" in described["stacktrace"]
    assert "hunter2" not in str(first)
    assert second["attributes"]["exception"]["message"] == "bad"


def test_events(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """An event has its name and its default severity; an unknown one is kept, never lost."""
    outrider.event("order.rejected", order_id=42)
    log.event("order.filled", "filled at last", severity="warn")
    outrider.event("order.teleported")
    outrider.event("app.cache_warmed")

    rejected, filled, unknown, own = logged()
    assert (rejected["event"], rejected["severity"]) == ("order.rejected", 13)
    assert (filled["message"], filled["severity"]) == ("filled at last", 13)
    assert unknown["event"] == "app.unclassified"
    assert unknown["attributes"] == {"event_name": "order.teleported"}
    assert own["event"] == "app.cache_warmed"


def test_audit(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """An audit record says who did what to what, with what was before and after."""
    outrider.audit(
        "config.changed",
        actor="anna",
        target="limits",
        before={"max": 1},
        after={"max": 2},
        ip="::1",
    )

    (record,) = logged()
    assert record["event"] == "config.changed"
    assert record["message"] == "anna: config.changed limits"
    assert record["attributes"] == {
        "class": "audit", "actor": "anna", "outcome": "success", "target": "limits",
        "before": {"max": 1}, "after": {"max": 2}, "ip": "::1",
    }  # fmt: skip


def test_bound_fields_and_context(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Context, then the logger's own fields, then the call's: the nearest wins; blocks end."""
    mine = log.bind(a=2, b=2)
    with outrider.context(a=1, b=1, c=1, correlation_id="x"):
        with outrider.context(c=9):
            mine.info("m", b=3)
        mine.info("m")
    mine.info("m")

    first, second, third = logged()
    assert first["attributes"] == {"a": 2, "b": 3, "c": 9}
    assert first["correlation_id"] == "x"
    assert second["attributes"] == {"a": 2, "b": 2, "c": 1}
    assert third["attributes"] == {"a": 2, "b": 2}
    assert "correlation_id" not in third


async def test_context_in_tasks_threads_and_decorators(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """Tasks have their own context, to_thread and copied contexts carry it, decorated functions of
    both kinds have it for the length of the call.
    """

    @outrider.context(job="sync")
    def decorated() -> None:
        log.info("decorated")

    @outrider.context(job="async")
    async def decorated_async() -> None:
        await asyncio.sleep(0)
        log.info("decorated async")

    async def task(name: str) -> None:
        with outrider.context(task=name):
            await asyncio.sleep(0)
            log.info(name)

    await asyncio.gather(task("one"), task("two"))
    with outrider.context(request=7):
        await asyncio.to_thread(log.info, "to_thread")
        thread = threading.Thread(target=contextvars.copy_context().run, args=(log.info, "thread"))
    thread.start()
    thread.join()
    decorated()
    await decorated_async()
    log.info("bare")

    said = {r["message"]: r.get("attributes", {}) for r in logged()}
    assert said == {
        "one": {"task": "one"}, "two": {"task": "two"}, "to_thread": {"request": 7},
        "thread": {"request": 7}, "decorated": {"job": "sync"},
        "decorated async": {"job": "async"}, "bare": {},
    }  # fmt: skip


def test_the_standard_librarys_logging(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """A Handler keeps message, logger, level, extra, exception and context of a LogRecord."""
    source = logging.getLogger("lib.db")
    handler = outrider.Handler()
    source.addHandler(handler)
    source.propagate = False
    try:
        with outrider.context(request=7):
            source.warning("slow %s", "query", extra={"ms": 250, "trace_id": "0af"})
            try:
                fail("EXCHANGE_BANNED")
            except outrider.Fault:
                source.exception("failed", stack_info=True, extra={"event": "api.failed"})
        source.debug("below the logger's level")
        source.critical("%d", "no number")
    finally:
        source.removeHandler(handler)

    slow, failed, broken = logged()
    assert (slow["message"], slow["logger"], slow["severity"]) == ("slow query", "lib.db", 13)
    assert slow["attributes"] == {"ms": 250, "request": 7}
    assert slow["trace_id"] == "0af"
    assert (failed["event"], failed["error_code"]) == ("api.failed", "EXCHANGE_BANNED")
    assert failed["attributes"]["exception"]["type"] == "outrider.errors.Fault"
    assert "stack" in failed["attributes"]
    assert broken["message"] == "%d ('no number',)"


def test_the_handler_in_a_dict_config(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """The handler can be named in dictConfig, with a level."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"o": {"class": "outrider.Handler", "level": "ERROR"}},
            "loggers": {"lib.web": {"handlers": ["o"], "propagate": False}},
        }
    )
    logging.getLogger("lib.web").warning("no")
    logging.getLogger("lib.web").error("yes")

    assert [r["message"] for r in logged()] == ["yes"]


def test_many_threads_write_whole_lines(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Records of threads never mix, without a lock."""

    def run(i: int) -> None:
        for n in range(200):
            log.info("m", i=i, n=n)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    got = {(r["attributes"]["i"], r["attributes"]["n"]) for r in logged()}
    assert got == {(i, n) for i in range(5) for n in range(200)}


@pytest.mark.parametrize("level", ["nonsense", "", 99])
def test_init_never_raises(level: Any, inbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever init is given, the process logs."""
    monkeypatch.setattr(client, "_current", None)
    monkeypatch.setattr(client, "_install_hooks", lambda: None)
    outrider.init("", level=level)
    log.info("m")

    assert [p.name.split("~")[0] for p in inbox.glob("*.jsonl")] == ["unnamed"]


def test_names_from_the_environment(inbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without init a client has the name of $OUTRIDER_SERVICE; $OUTRIDER_WORKER names the worker;
    init changes the name later; init again with the same changes nothing.
    """
    monkeypatch.setattr(client, "_current", None)
    monkeypatch.setattr(client, "_install_hooks", lambda: None)
    monkeypatch.setenv("OUTRIDER_SERVICE", "cron")
    monkeypatch.setenv("OUTRIDER_WORKER", "host-7")
    log.info("m")
    outrider.init("payments", worker="w")
    log.info("m")
    before = client.current()
    outrider.init("payments", worker="w", level="error")
    log.info("no")

    assert client.current() is before
    names = sorted(p.name.split("~")[:2] for p in inbox.glob("*.jsonl"))
    assert names == [["cron", "host-7"], ["payments", "w"]]
