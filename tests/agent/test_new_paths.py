"""Files at paths that nobody saw before are read, also what rotation has renamed by then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.agent.harness import numbered, numbers
from tests.agent.stepped import Stepped, connected_host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leases")


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent runs and has a session."""
    return connected_host(tmp_path / "host")


def test_what_was_renamed_at_a_new_path_between_two_looks_is_read(host: Stepped) -> None:
    """The path was new in a directory that was looked at; what is older there is none of its."""
    old = host.site.write("n.log.2", numbered(1000, 1001))
    host.settle()
    os.utime(old, (host.now - 60.0, host.now - 60.0))
    log = host.site.write("n.log", numbered(0, 10))
    renamed = log.rename(log.with_name("n.log.1"))
    os.utime(renamed, (host.now, host.now))
    host.site.write("n.log", numbered(10, 20))
    host.settle()

    assert sorted(numbers(host.collector)) == [*range(20)]
    assert host.collector.database.gaps == {}
