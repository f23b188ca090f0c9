"""Which addresses stay on this machine."""

from __future__ import annotations

import pytest

from outrider.addresses import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.9", "::1"])
def test_loopback_is_recognized(host: str) -> None:
    """The names and addresses that cannot leave the machine."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "mail.example.org",
        "10.0.0.1",
        "",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "0.0.0.0",
    ],
)
def test_what_only_looks_like_it_is_not(host: str) -> None:
    """A name that somebody else could point anywhere is not loopback."""
    assert not is_loopback(host)
