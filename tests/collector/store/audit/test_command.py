"""`outrider audit verify`, as a user types it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from outrider.configuration import ConfigError
from outrider_collector.store.audit import verify as proof
from outrider_collector.terminal import audit as terminal
from outrider_collector.terminal.audit import audit
from tests.collector.store.audit.sealing import seal, two_seals, write

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


async def test_rows_that_wait_for_a_seal_too_long_are_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log whose seals were removed is not one that was never sealed."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", store.url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")
    await two_seals(store)
    await store.connection.execute("alter table audit_seals disable trigger all")
    await store.connection.execute("truncate audit_seals")

    async def verify(late_s: float) -> tuple[int, dict[str, int], str]:
        monkeypatch.setattr(terminal, "verify", partial(proof.verify, late_s=late_s))
        code = await asyncio.to_thread(audit, ["verify"])
        said = capsys.readouterr().out
        assert await asyncio.to_thread(audit, ["verify", "--json"]) == code
        return code, json.loads(capsys.readouterr().out), said

    code, report, said = await verify(late_s=0)
    assert (code, report["late"], report["unsealed"]) == (3, 10, 10)
    assert "10 rows have waited for a seal" in said
    assert "nobody seals, or the seals were removed" in said
    code, report, said = await verify(late_s=3_600)
    assert (code, report["late"], report["unsealed"]) == (0, 0, 10)
    assert "10 newer rows are not sealed yet" in said
