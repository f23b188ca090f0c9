"""Routes are asked in order, until one keeps the alert; what decides is what is explained."""

from __future__ import annotations

from outrider_alerting import rule_files
from outrider_alerting.routing import asked, matching

CHANNELS = "".join(
    f'[[channel]]\nname = "{name}"\ntype = "webhook"\nurl = "https://{name}.example/x"\n'
    for name in "abcd"
)
ROUTES = """
[[route]]
match = "priority:warning"
channels = ["a"]
continue = true
[[route]]
match = "service:other"
channels = ["b"]
[[route]]
channels = ["c"]
[[route]]
match = "priority:warning"
channels = ["d"]
"""


def test_each_route_says_whether_it_takes_an_alert_and_who_had_it_before() -> None:
    """One that goes on does not keep it; after one that does, none is asked."""
    rule_set = rule_files.read([("routes.toml", CHANNELS + ROUTES)])
    labels = {"priority": "warning", "service": "payments"}

    said = [(one.takes, one.after) for one in asked(rule_set, labels)]
    assert said == [(True, 0), (False, 0), (True, 0), (False, 3)]
    assert [route.channels for route in matching(rule_set, labels)] == [("a",), ("c",)]
