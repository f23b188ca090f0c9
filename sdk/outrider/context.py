"""Fields that belong to everything logged in a piece of work, bound by ``with context(...)``.

They live in a context variable, so that asyncio tasks and threads started with
``contextvars.copy_context().run`` have their own.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_EMPTY: Mapping[str, object] = {}

bound: ContextVar[Mapping[str, object]] = ContextVar("outrider_context", default=_EMPTY)
"""The fields bound here and now. The mapping is never changed, only replaced."""

# inspect.CO_COROUTINE, without the price of importing inspect into every worker.
_CO_COROUTINE = 0x80

F = TypeVar("F", bound="Callable[..., Any]")


class context:  # noqa: N801  used like a function
    """Bind fields to all records of a block, or of each call of a function (also an async one).

    Inner bindings add to outer ones and win over them.
    """

    __slots__ = ("_fields", "_tokens")

    def __init__(self, **fields: object) -> None:
        self._fields = fields
        self._tokens: list[Token[Mapping[str, object]]] = []

    def __enter__(self) -> Self:
        self._tokens.append(bound.set({**bound.get(), **self._fields}))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        bound.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        """Decorate a function: each call has a block of its own."""
        fields = self._fields
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _CO_COROUTINE:

            @functools.wraps(function)
            async def wrapper_async(*args: Any, **kwargs: Any) -> Any:
                with context(**fields):
                    return await function(*args, **kwargs)

            return wrapper_async  # type: ignore[return-value]  # the same signature, by wraps

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with context(**fields):
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]  # the same signature, by wraps
