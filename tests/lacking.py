"""What a machine may lack. A test that needs it is skipped, or fails where the run requires it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

REQUIRE = "OUTRIDER_REQUIRE"
"""Names what must be there, as CI does: ``browser,openssl``."""


def lacks(what: str, why: str) -> NoReturn:
    """End the test for want of something."""
    if what in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{REQUIRE} names {what}, and {why}")
    pytest.skip(why)


def need_openssl() -> None:
    """End the test where nothing can make certificates."""
    if shutil.which("openssl") is None:
        lacks("openssl", "openssl, which makes certificates, is not installed")
