"""Outlets: a channel that broke is built anew, so that what was put right is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting import rule_files
from outrider_alerting.channels.build import build
from outrider_alerting.channels.outcome import Failed, Retry
from outrider_collector.alerts.outlets import BROKEN_KEPT, Outlets
from tests.collector.alerts import samples

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_corrected_secret_is_used_by_the_next_attempt(tmp_path: Path) -> None:
    """After the channel refused the token, the file is read again; a passing failure keeps it."""
    token = tmp_path / "telegram.token"
    token.write_text("1:wrong")
    outlets = Outlets(tmp_path, build)
    texts = {"rules.toml": samples.MATCH, "notify.toml": samples.notify("http://127.0.0.1:9")}
    await outlets.use(rule_files.read(texts.items()))
    first = outlets.get("ops")

    await outlets.note("ops", Retry("later"))
    assert outlets.get("ops") is first
    for _ in range(BROKEN_KEPT + 2):
        await outlets.note("ops", Failed("no such bot", channel_broken=True))
        assert outlets.get("ops") is not first
    await outlets.close()
