"""The page that says which test holds which promise names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS / "PROMISES.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=["::".join(named) for named in NAMED])
def test_each_test_that_is_named_is_there(path: str, name: str) -> None:
    """A test that is renamed or removed takes its promise along, in the open."""
    if path == "tests/test_promises.py":
        return
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse((TESTS / path).read_text()))
    there = {node.name for node in nodes if isinstance(node, functions)}
    assert not name or name in there, f"PROMISES.md names {path}::{name}"


def test_no_number_is_left_out() -> None:
    """Forty of files and delivery, fifty-two of alerting."""
    found = re.findall(r"^\| ([FA])(\d+) ", PAGE, re.MULTILINE)
    numbers = {kind: {int(number) for of, number in found if of == kind} for kind in "FA"}
    assert numbers["F"] == {*range(1, 41)}
    assert numbers["A"] == {*range(1, 53)}
