"""`outrider audit verify`, as a user types it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from outrider.configuration import ConfigError
from outrider_collector.terminal.audit import audit
from tests.collector.store.audit.sealing import seal, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.store.making import Store


async def test_the_exit_code_says_whether_something_was_found(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0 and the head; 3 and what is not borne out; a head that is none is named with its place."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", store.url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")

    async def verify(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(audit, ["verify", *arguments])
        return code, capsys.readouterr().out

    code, said = await verify()
    assert (code, "nothing to prove" in said) == (0, True)
    await write(store, ["config.changed"] * 2)
    await seal(store)
    code, said = await verify("--json")
    head = json.loads(said)["head"]
    assert (code, json.loads(said)["rows"], json.loads(said)["findings"]) == (0, 2, [])

    kept = tmp_path / "audit_heads"
    kept.write_text(f"# of web-3\n{head} 2026-11-29T10:00:00Z\n")
    code, said = await verify("--heads", str(kept))
    assert (code, "1 of 1 published heads agree" in said) == (0, True)
    code, said = await verify("--head", f"1:{'ab' * 32}")
    assert (code, said.startswith("head differs: seal 1: ")) == (3, True)
    kept.write_text(f"{head}\njunk\x1b[2J\n")
    with pytest.raises(ConfigError, match=r"line 2 of .*audit_heads") as caught:
        await verify("--heads", str(kept))
    assert "\x1b" not in str(caught.value)
