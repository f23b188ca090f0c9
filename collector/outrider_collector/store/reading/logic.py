"""Conditions put together, with what is always true or false left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.sql import Composable

TRUE: Final = sql.SQL("true")
FALSE: Final = sql.SQL("false")


def all_of(terms: Iterable[Composable]) -> Composable:
    """Return a condition that holds where every term does; true without terms."""
    left = [term for term in terms if term != TRUE]
    if FALSE in left:
        return FALSE
    return _joined(left, sql.SQL(" and ")) if left else TRUE


def any_of(terms: Iterable[Composable]) -> Composable:
    """Return a condition that holds where a term does; false without terms."""
    left = [term for term in terms if term != FALSE]
    if TRUE in left:
        return TRUE
    return _joined(left, sql.SQL(" or ")) if left else FALSE


def none_of(term: Composable) -> Composable:
    """Return a condition that holds where the term does not; the term is never null."""
    if term in (TRUE, FALSE):
        return FALSE if term == TRUE else TRUE
    return sql.SQL("not {}").format(term)


def _joined(terms: list[Composable], word: sql.SQL) -> Composable:
    if len(terms) == 1:
        return terms[0]
    return sql.SQL("({})").format(word.join(terms))
