"""The 200 rules of the benchmark: most never match, some match 1 % of the records by 1,000 keys."""

from __future__ import annotations

_MATCHING = 10
_RULES = 200


def two_hundred_rules() -> str:
    """A TOML file of 200 rules over the benchmark's lines."""
    parts = [_rule(n, _filter(n), by='["attributes.account"]') for n in range(_MATCHING)]
    parts += [_rule(n, _quiet_filter(n), by='["service"]') for n in range(_MATCHING, _RULES)]
    return "\n".join(parts)


def quiet_rules() -> str:
    """A TOML file of 200 rules that match none of the benchmark's lines."""
    return "\n".join(_rule(n, _quiet_filter(n), by='["service"]') for n in range(_RULES))


def _filter(number: int) -> str:
    return "service:trading severity>=error" if number % 2 else "event:order.rejected"


def _quiet_filter(number: int) -> str:
    """What users write, and what these lines never hold."""
    kinds = (
        f"service:svc-{number} severity>=error",
        f"service:trading severity>=error refused{number}",
        f"event:job.failed-{number}",
        f"service:trading error_code:EXCHANGE_{number}",
        "service:trading severity>=fatal",
        f"logger:billing.{number} severity>=warn",
    )
    return kinds[number % len(kinds)]


def _rule(number: int, filter_text: str, *, by: str) -> str:
    return (
        f'[[rule]]\nname = "r{number:03d}"\nkind = "count"\nfilter = "{filter_text}"\n'
        f'by = {by}\nwindow = "1m"\nabove = 1000000\npriority = "info"\n'
        'summary = "{count} in {window}"\n'
    )
