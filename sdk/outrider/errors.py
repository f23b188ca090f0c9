"""The error catalogue: every way in which Outrider refuses or fails, with what to do about it.

A :class:`Reason` is stable: its name goes over the wire, into rows and into users' scripts. From
one entry come the gRPC status code, the HTTP status, the retry class that :mod:`outrider.retry`
obeys, and the sentence that a user reads. A :class:`Fault` is a reason that happened, with the
particulars in its metadata: never only in the text, so that programs can read them too.

Entries are added, never renamed or removed.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self


class RetryClass(Enum):
    """What a caller may do after a failure."""

    NEVER = "never"
    """The same request fails again: change it, or tell somebody."""
    SAFE = "safe"
    """Nothing was done, or doing it twice is the same as once: repeat with backoff."""
    AFTER = "after"
    """Repeat, but not before the delay that the server named (else backoff)."""
    VERIFY = "verify"
    """It may have happened. Ask by key what became of it before any repetition."""


class Reason(StrEnum):
    """A stable name for one kind of failure; its value is its name."""

    grpc_code: str
    """Name of the gRPC status code."""
    http_status: int
    retry: RetryClass
    text: str
    """The sentence that a user reads."""

    def __new__(cls, value: str, grpc_code: str, http_status: int, retry: str, text: str) -> Self:
        """Make an entry from a line of the catalogue."""
        entry = str.__new__(cls, value)
        entry._value_ = value
        entry.grpc_code = grpc_code
        entry.http_status = http_status
        entry.retry = RetryClass(retry)
        entry.text = text
        return entry

    # What a sender can get wrong.
    MESSAGE_INVALID = (
        "MESSAGE_INVALID", "INVALID_ARGUMENT", 400, "never",
        "what was sent is no message of this method; is the sender of another version?",
    )  # fmt: skip
    RECORD_INVALID = (
        "RECORD_INVALID", "INVALID_ARGUMENT", 400, "never",
        "a record has a missing field or a wrong type; it is kept in quarantine",
    )  # fmt: skip
    BATCH_INVALID = (
        "BATCH_INVALID", "INVALID_ARGUMENT", 400, "never",
        "a batch does not hold what it says it holds",
    )  # fmt: skip
    BATCH_TOO_LARGE = (
        "BATCH_TOO_LARGE", "RESOURCE_EXHAUSTED", 413, "never",
        "a batch is larger than the limit; send smaller ones",
    )  # fmt: skip
    VERSION_UNSUPPORTED = (
        "VERSION_UNSUPPORTED", "FAILED_PRECONDITION", 412, "never",
        "agent and collector share no version of the protocol; upgrade the older one",
    )  # fmt: skip
    FILTER_INVALID = (
        "FILTER_INVALID", "INVALID_ARGUMENT", 400, "never",
        "the filter cannot be read",
    )  # fmt: skip
    RULE_INVALID = (
        "RULE_INVALID", "INVALID_ARGUMENT", 400, "never",
        "a rule cannot be read",
    )  # fmt: skip
    CONFIG_INVALID = (
        "CONFIG_INVALID", "FAILED_PRECONDITION", 500, "never",
        "the configuration cannot be used",
    )  # fmt: skip

    # Who may do what.
    AGENT_UNKNOWN = (
        "AGENT_UNKNOWN", "UNAUTHENTICATED", 401, "never",
        "this agent is not enrolled here; enrol it again",
    )  # fmt: skip
    TOKEN_INVALID = (
        "TOKEN_INVALID", "UNAUTHENTICATED", 401, "never",
        "the token is missing or unknown",
    )  # fmt: skip
    TOKEN_REVOKED = (
        "TOKEN_REVOKED", "UNAUTHENTICATED", 401, "never",
        "access with this token was withdrawn",
    )  # fmt: skip
    AGENT_CLONED = (
        "AGENT_CLONED", "ALREADY_EXISTS", 409, "never",
        "another process has this agent's identity and is connected; enrol this one anew",
    )  # fmt: skip
    SCOPE_DENIED = (
        "SCOPE_DENIED", "PERMISSION_DENIED", 403, "never",
        "this token may not do that",
    )  # fmt: skip

    # The protocol of streams.
    STREAM_FENCED = (
        "STREAM_FENCED", "ABORTED", 409, "never",
        "a newer session of this agent has taken over; this one must end",
    )  # fmt: skip
    STREAM_REFUSED = (
        "STREAM_REFUSED", "FAILED_PRECONDITION", 409, "never",
        "the stream is not known here or belongs to another agent",
    )  # fmt: skip

    AGENT_SLOW = (
        "AGENT_SLOW", "RESOURCE_EXHAUSTED", 429, "after",
        "the agent does not read what it is answered; its session ends and it may come back",
    )  # fmt: skip

    # The state of the collector and its store.
    COLLECTOR_BUSY = (
        "COLLECTOR_BUSY", "UNAVAILABLE", 503, "after",
        "the collector has more work than it can take; it names when to come back",
    )  # fmt: skip
    COLLECTOR_UNREACHABLE = (
        "COLLECTOR_UNREACHABLE", "UNAVAILABLE", 503, "safe",
        "no collector answers at the address; start one, or look at what lies between",
    )  # fmt: skip
    COLLECTOR_STOPPING = (
        "COLLECTOR_STOPPING", "UNAVAILABLE", 503, "safe",
        "the collector is stopping; connect to another one or wait",
    )  # fmt: skip
    STORE_DOWN = (
        "STORE_DOWN", "UNAVAILABLE", 503, "after",
        "the database cannot be reached; agents keep what they hold",
    )  # fmt: skip
    STORE_FULL = (
        "STORE_FULL", "UNAVAILABLE", 507, "after",
        "the database has no room left; free some or raise the budget",
    )  # fmt: skip
    STORE_BEHIND = (
        "STORE_BEHIND", "FAILED_PRECONDITION", 412, "never",
        "the database's schema does not fit this version; run 'outrider store migrate'",
    )  # fmt: skip
    RULES_TOO_NEW = (
        "RULES_TOO_NEW", "FAILED_PRECONDITION", 412, "never",
        "the active rule set needs a newer version; upgrade this collector",
    )  # fmt: skip

    # Reading and acting.
    NOT_FOUND = (
        "NOT_FOUND", "NOT_FOUND", 404, "never",
        "there is no such thing",
    )  # fmt: skip
    CONFLICT = (
        "CONFLICT", "ABORTED", 409, "safe",
        "it was changed meanwhile; look again, then repeat",
    )  # fmt: skip
    QUERY_TIMEOUT = (
        "QUERY_TIMEOUT", "DEADLINE_EXCEEDED", 504, "never",
        "the search took too long; narrow the time or the filter",
    )  # fmt: skip
    QUERY_TOO_LARGE = (
        "QUERY_TOO_LARGE", "INVALID_ARGUMENT", 413, "never",
        "the search asks for more than one answer may hold; narrow it",
    )  # fmt: skip

    # Telling people.
    NOTIFY_REJECTED = (
        "NOTIFY_REJECTED", "FAILED_PRECONDITION", 424, "never",
        "the channel refused the message",
    )  # fmt: skip
    NOTIFY_UNAVAILABLE = (
        "NOTIFY_UNAVAILABLE", "UNAVAILABLE", 503, "after",
        "the channel cannot be reached now",
    )  # fmt: skip
    NOTIFY_OUTCOME_UNKNOWN = (
        "NOTIFY_OUTCOME_UNKNOWN", "UNKNOWN", 502, "verify",
        "the message may or may not have been delivered",
    )  # fmt: skip

    # For users' own workers: talking to exchanges.
    EXCHANGE_TIMEOUT = (
        "EXCHANGE_TIMEOUT", "DEADLINE_EXCEEDED", 504, "safe",
        "the exchange did not answer a question in time",
    )  # fmt: skip
    EXCHANGE_UNAVAILABLE = (
        "EXCHANGE_UNAVAILABLE", "UNAVAILABLE", 503, "safe",
        "the exchange cannot be reached",
    )  # fmt: skip
    EXCHANGE_RATE_LIMITED = (
        "EXCHANGE_RATE_LIMITED", "RESOURCE_EXHAUSTED", 429, "after",
        "the exchange's request limit is used up",
    )  # fmt: skip
    EXCHANGE_BANNED = (
        "EXCHANGE_BANNED", "RESOURCE_EXHAUSTED", 429, "after",
        "the exchange has banned this address for a time",
    )  # fmt: skip
    EXCHANGE_MAINTENANCE = (
        "EXCHANGE_MAINTENANCE", "UNAVAILABLE", 503, "after",
        "the exchange is under maintenance",
    )  # fmt: skip
    EXCHANGE_CLOCK_SKEW = (
        "EXCHANGE_CLOCK_SKEW", "FAILED_PRECONDITION", 424, "never",
        "this host's clock is too far off; orders would be refused",
    )  # fmt: skip
    EXCHANGE_AUTH_FAILED = (
        "EXCHANGE_AUTH_FAILED", "UNAUTHENTICATED", 401, "never",
        "the exchange does not accept these credentials",
    )  # fmt: skip
    ORDER_REJECTED = (
        "ORDER_REJECTED", "FAILED_PRECONDITION", 422, "never",
        "the exchange refused the order",
    )  # fmt: skip
    ORDER_OUTCOME_UNKNOWN = (
        "ORDER_OUTCOME_UNKNOWN", "UNKNOWN", 502, "verify",
        "the order may have been placed; ask by its client order id before sending it again",
    )  # fmt: skip

    INTERNAL_BUG = (
        "INTERNAL_BUG", "INTERNAL", 500, "never",
        "a mistake in Outrider; please report it with the details shown",
    )  # fmt: skip


class Fault(Exception):  # noqa: N818  the public name; a fault is what happened, not a class of error
    """One failure of a catalogued (or a user's own) kind, with its particulars.

    ``Fault("EXCHANGE_TIMEOUT", exchange="kraken")``. A reason that is not in the catalogue is kept
    as it is and never retried, because nothing is known about it. ``retry_after_s`` is the delay a
    server asked for, in seconds.
    """

    def __init__(
        self, reason: Reason | str, *, retry_after_s: float | None = None, **metadata: object
    ) -> None:
        known = Reason.__members__.get(str(reason))
        self.reason: Reason | str = known if known is not None else str(reason)
        """The catalogue's entry, or the plain string of a user's own reason."""
        self.retry: RetryClass = known.retry if known is not None else RetryClass.NEVER
        self.retry_after_s = retry_after_s
        self.metadata: dict[str, object] = metadata
        super().__init__(str(reason))

    @property
    def text(self) -> str:
        """The user's sentence: ``detail`` of the metadata if there is one, else the entry's."""
        detail = self.metadata.get("detail")
        if detail is not None:
            return str(detail)
        return self.reason.text if isinstance(self.reason, Reason) else str(self.reason)

    def __str__(self) -> str:
        particulars = ", ".join(f"{k}={v}" for k, v in self.metadata.items() if k != "detail")
        return f"{self.text} ({self.reason}{': ' if particulars else ''}{particulars})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all particulars, so that a fault crosses process pools."""
        return _rebuild, (str(self.reason), self.retry_after_s, self.metadata)


def _rebuild(reason: str, retry_after_s: float | None, metadata: dict[str, object]) -> Fault:
    return Fault(reason, retry_after_s=retry_after_s, **metadata)
