"""Every literal statement of the store fits the schema."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

import outrider_collector.store as package

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERBS = ("select", "insert", "update", "delete", "with")
# "select, insert" and "update (closed_at)" are what a role may, and no statements.
_PRIVILEGES = re.compile(r"(select|insert|update|delete)(,| \()")
_ENDS = re.compile(r";\s*\n|;\s*$")
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%[sb]")


def _statements() -> Iterator[tuple[str, str]]:
    for file in sorted(Path(package.__path__[0]).rglob("*.py")):
        tree = ast.parse(file.read_text())
        inside = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr | ast.BinOp)
            or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("SQL"))
            for part in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            text = node.value.strip()
            if _PRIVILEGES.match(text):
                continue
            if text.startswith(_VERBS) and " " in text and id(node) not in inside:
                for part in _ENDS.split(text):
                    if part.strip().startswith(_VERBS):
                        yield f"{file.name}:{node.lineno}", part


def _numbered(statement: str) -> str:
    names: dict[str, int] = {}
    count = 0

    def number(match: re.Match[str]) -> str:
        nonlocal count
        name = match[1]
        if name is None or name not in names:
            count += 1
            if name is not None:
                names[name] = count
        return f"${count if name is None else names[name]}"

    return _PLACEHOLDER.sub(number, statement).replace("%%", "%")


def test_every_literal_statement_can_be_prepared(beside: psycopg.Connection) -> None:
    """Names of tables, columns and functions, and types, are checked by Postgres itself."""
    checked, failed = 0, []
    for place, statement in _statements():
        checked += 1
        try:
            beside.execute(f"prepare s as {_numbered(statement)}".encode())
            beside.execute("deallocate s")
        except psycopg.Error as error:
            failed.append(f"{place}: {error.diag.message_primary}: {statement.strip()[:80]}")

    assert not failed, "\n".join(failed)
    assert checked > 150
