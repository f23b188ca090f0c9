"""The line about an inbox that may not be used says what is missing and what lets the worker in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.inbox import access

if TYPE_CHECKING:
    import pytest

DENIED = PermissionError(13, "Permission denied")


def test_what_is_not_there_is_to_be_created(tmp_path: Path) -> None:
    """Any other error than a missing permission has the general remedy."""
    assert access.remedy(tmp_path, FileExistsError(17, "File exists")) == (
        "create it or set OUTRIDER_INBOX"
    )


def test_a_missing_group_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that adds the user to it; root's group is no one's to join."""
    tmp_path.chmod(0o3770)
    monkeypatch.setattr(access, "_user", lambda: "worker")
    monkeypatch.setattr(access, "_group", lambda _: "logs")
    said = access.remedy(tmp_path, DENIED)
    entry = f"`setfacl -m u:worker:rwx {tmp_path}`"

    assert said.startswith("worker is not in its group ")
    assert "(mode 3770)" in said
    if os.getegid() == 0:
        assert said.endswith(f": {entry}, or `chgrp` it to a group that worker is in")
        os.chown(tmp_path, -1, 65534)
        tmp_path.chmod(0o3770)
        said = access.remedy(tmp_path, DENIED)
    assert said.endswith(f": `usermod -aG logs worker` and start the worker anew, or {entry}")


def test_a_mode_that_lets_no_group_in_is_named(tmp_path: Path) -> None:
    """A directory made by hand has to be opened for its group first."""
    tmp_path.chmod(0o700)

    assert access.remedy(tmp_path, DENIED).startswith("its mode 0700 lets no group in: `setfacl")


def test_a_closed_directory_above_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that the user may not enter: no entry on the inbox itself would help."""
    monkeypatch.setattr(os, "access", lambda path, _: str(path) in {"/", "/home"})
    said = access.remedy(Path("/home/root/data/inbox"), DENIED)

    assert said.startswith("/home/root is closed to ")
    assert "set OUTRIDER_INBOX, and `inbox` under [agent]" in said
