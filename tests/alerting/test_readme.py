"""The page about rules shows rules that work."""

from __future__ import annotations

import re
from pathlib import Path

from outrider_alerting import cases, rule_files
from outrider_alerting.kinds import KINDS

README = Path(__file__).parents[2] / "alerting" / "README.md"


def test_the_examples_are_one_set_without_a_fault() -> None:
    """Every kind has an example, all of them are accepted as they stand, their tests pass."""
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    examples = [(f"{n}.toml", block) for n, block in enumerate(blocks) if "[[rule]]" in block]

    assert rule_files.lint(examples) == []
    rule_set = rule_files.read(examples)
    assert {rule.kind for rule in rule_set.rules} == set(KINDS)
    assert cases.run(rule_set) == (1, [])
