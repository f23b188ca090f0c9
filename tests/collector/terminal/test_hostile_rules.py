"""Rule files are written by others: nothing in them acts on the terminal of who checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outrider import command

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = r"\u001b]0;owned\u0007\u202e"
RULES = f"""
[[rule]]
name = "{HOSTILE}"
kind = "liveness"
"{HOSTILE}" = 1

[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
window = "1m"
above = 1
summary = "{HOSTILE}"
runbook = "https://wiki/{HOSTILE}"
[[rule.test]]
given = [{{ at = "0s", severity = "error", service = "{HOSTILE}", repeat = 5 }}]
expect = [{{ at = "10s", state = "inactive" }}]
"""


@pytest.mark.parametrize("act", ["lint", "test", "diff", "apply"])
def test_no_rule_file_acts_on_the_terminal(
    act: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences and changes of direction are shown as symbols by every act."""
    (tmp_path / "a.toml").write_text(RULES)
    assert command.main(["rules", act, str(tmp_path)]) in {2, 3}
    said = "".join(capsys.readouterr())
    assert "\u241b]0;owned\u2407<U+202E>" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_a_failed_test_of_a_rule_is_told_without_acting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the files are in order, what a failed test quotes of them is shown too."""
    second = RULES.index("[[rule]]", 10)
    (tmp_path / "\x1b[31m.toml").write_text(RULES[second:])
    assert command.main(["rules", "test", str(tmp_path)]) == 1
    said = "".join(capsys.readouterr())
    assert "1 of 1 test failed" in said
    assert "\u241b[31m.toml:" in said
    assert "\x1b" not in said
