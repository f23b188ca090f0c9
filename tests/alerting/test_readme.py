"""The page about rules shows rules that work."""

from __future__ import annotations

import re
from pathlib import Path

from outrider_alerting import cases, rule_files
from outrider_alerting.kinds import KINDS

README = Path(__file__).parents[2] / "alerting" / "README.md"
BESIDE_OTHERS = README.with_name("BESIDE_OTHERS.md")
TESTS = Path(__file__).parents[1]


def test_the_examples_are_one_set_without_a_fault() -> None:
    """Every kind has an example, all of them are accepted as they stand, their tests pass."""
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    examples = [(f"{n}.toml", block) for n, block in enumerate(blocks) if "[[rule]]" in block]

    assert rule_files.lint(examples) == []
    rule_set = rule_files.read(examples)
    assert {rule.kind for rule in rule_set.rules} == set(KINDS)
    assert cases.run(rule_set) == (1, [])


def test_what_is_claimed_beside_others_is_held_by_a_test() -> None:
    """Every `yes` in our column names a test, and every test that the page names is there."""
    text = BESIDE_OTHERS.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
            if line.startswith("|")]  # fmt: skip
    named = re.findall(r"`([a-z_/]+\.py)(?:::(test_\w+))?`", text)

    assert {len(row) for row in rows} == {10}
    assert [row[0] for row in rows if row[8].startswith("yes") and not row[9]] == []
    assert len(named) > 40
    for file, test in named:
        path = TESTS / file if "/" in file else TESTS / "alerting" / file
        assert path.is_file(), file
        assert not test or f"def {test}(" in path.read_text(), f"{file}::{test}"
