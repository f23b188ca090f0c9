"""Rule files for the alert tests."""

from __future__ import annotations

MATCH = """
[[rule]]
name = "payment-failures"
kind = "match"
filter = 'service:payments "charge failed"'
by = ["worker"]
priority = "critical"
summary = "a charge failed on {worker}"
keep_firing_for = "1s"
lateness = "0s"
"""


def match_on(worker: str) -> str:
    """Return a rule of its own for one worker's failures, so that its alerts join no other's."""
    return MATCH.replace("payment-failures", f"failures-{worker}").replace(
        "service:payments", f"service:payments worker:{worker}"
    )


COUNT = """
[[rule]]
name = "many-errors"
kind = "count"
filter = "service:payments severity>=error"
by = ["worker"]
window = "1m"
above = 3
priority = "warning"
summary = "{count} errors on {worker}"
"""

LIVENESS = """
[[rule]]
name = "worker-gone"
kind = "liveness"
priority = "critical"
"""


def notify(url: str, chat_id: int = 77) -> str:
    """Return a channel to the test's Bot API and the route to it."""
    return f"""
[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "telegram.token"
chat_id = {chat_id}
base_url = "{url}"

[[route]]
channels = ["ops"]
"""


def mail(port: int, *to: str) -> str:
    """Return a channel to the test's mail server and the route to it."""
    recipients = ", ".join(f'"{address}"' for address in to or ("anna@example.org",))
    return f"""
[[channel]]
name = "mail"
type = "email"
smtp_host = "127.0.0.1"
smtp_port = {port}
tls = "none"
from = "outrider@example.org"
to = [{recipients}]

[[route]]
channels = ["mail"]
"""


def hook(port: int) -> str:
    """Return a webhook on loopback and the route to it."""
    return f"""
[[channel]]
name = "hook"
type = "webhook"
url = "http://127.0.0.1:{port}/"
[[route]]
channels = ["hook"]
"""
