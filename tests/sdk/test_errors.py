"""The error catalogue and the fault."""

from __future__ import annotations

import pickle
import re

import pytest

from outrider.errors import Fault, Reason, RetryClass

GRPC_CODES = {"CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
              "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
              "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
              "UNAUTHENTICATED"}  # fmt: skip


@pytest.mark.parametrize("reason", list(Reason), ids=str)
def test_every_entry_is_complete(reason: Reason) -> None:
    """A reason's name is its value, and it has a gRPC code, an HTTP status and a sentence."""
    assert reason == reason.name == str(reason)
    assert re.fullmatch(r"[A-Z][A-Z_]{2,62}", reason.name)
    assert reason.grpc_code in GRPC_CODES
    assert 400 <= reason.http_status < 600
    assert reason.text and not reason.text.endswith(".")


def test_only_unavailable_is_retried_blindly() -> None:
    """What may be repeated after a delay has a status that every sender knows as temporary."""
    for reason in Reason:
        if reason.retry is RetryClass.AFTER:
            assert reason.grpc_code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def test_a_fault_knows_its_reason() -> None:
    """A fault made by name has the entry's class and text, and keeps its particulars."""
    fault = Fault("EXCHANGE_TIMEOUT", exchange="kraken")

    assert fault.reason is Reason.EXCHANGE_TIMEOUT
    assert fault.retry is RetryClass.SAFE
    assert fault.metadata == {"exchange": "kraken"}
    assert str(fault) == f"{Reason.EXCHANGE_TIMEOUT.text} (EXCHANGE_TIMEOUT: exchange=kraken)"
    assert str(Fault("STORE_DOWN", detail="no route")) == "no route (STORE_DOWN)"


def test_an_own_reason_is_kept_and_never_retried() -> None:
    """A reason outside the catalogue stays what it is; nothing is known about repeating it."""
    fault = Fault("WAREHOUSE_CLOSED", city="Ulm")

    assert (fault.reason, fault.retry) == ("WAREHOUSE_CLOSED", RetryClass.NEVER)
    assert fault.text == "WAREHOUSE_CLOSED"


def test_an_order_of_unknown_outcome_must_be_verified() -> None:
    """The class that forbids a blind repetition is on the reasons that need it."""
    assert Reason.ORDER_OUTCOME_UNKNOWN.retry is RetryClass.VERIFY
    assert Reason.NOTIFY_OUTCOME_UNKNOWN.retry is RetryClass.VERIFY


def test_a_fault_crosses_processes() -> None:
    """Pickling keeps reason, delay and particulars."""
    fault = pickle.loads(pickle.dumps(Fault(Reason.STORE_DOWN, retry_after_s=2.5, host="db")))  # noqa: S301  our own bytes

    assert (fault.reason, fault.retry_after_s) == (Reason.STORE_DOWN, 2.5)
    assert fault.metadata == {"host": "db"}
