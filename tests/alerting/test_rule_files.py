"""Rule files: what is accepted, and how a mistake is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting import ready, rule_files
from outrider_alerting.kinds import KINDS, CountRule, LivenessRule, MatchRule
from outrider_alerting.rule_files import RulesInvalid
from outrider_alerting.rules import (
    EmailChannel,
    TelegramChannel,
    definition,
    diff,
)
from outrider_alerting.watches import hits_key
from tests.alerting.scene import COUNT, rules

FULL = """
[[rule]]
name = "payment-errors"
kind = "count"
filter = "service:payments severity>=error"
by = ["service", "worker", "attrs.order_id"]
window = "5m"
above = 10
resolve = 5
for = "30s"
keep_firing_for = "1m"
priority = "critical"
max_instances = 20
labels = { team = "payments" }
summary = "{count} errors in {window} on {worker} ({order_id}, {team})"
runbook = "https://wiki.example/payments"
evidence = 10
lateness = "20s"
urgent = true

[[rule]]
name = "out-of-memory"
kind = "match"
filter = '"out of memory" OR event:system.oom'
keep_firing_for = "10m"

[[rule]]
name = "worker-died"
kind = "liveness"
of = "worker"
states = ["dead"]
filter = "service:payments"

[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "telegram.token"
chat_id = -100123

[[channel]]
name = "oncall-mail"
type = "email"
smtp_host = "mail.example"
username = "alerts"
password_file = "smtp.password"
from = "Outrider <alerts@example.org>"
to = ["oncall@example.org"]

[[route]]
match = "priority>=critical"
channels = ["ops", "oncall-mail"]
continue = true

[[route]]
channels = ["ops"]
"""


def problems(text: str) -> list[str]:
    """What lint says about one file."""
    return [str(problem) for problem in rule_files.lint([("a.toml", text)])]


def test_everything_that_can_be_said() -> None:
    """A file with every key is read into typed rules, channels and routes."""
    rule_set = rules(FULL)
    count, match, liveness = rule_set.rules
    telegram, email = rule_set.channels

    assert problems(FULL) == []
    assert isinstance(count, CountRule)
    assert (count.window.us, count.above, count.resolve) == (300_000_000, 10, 5)
    assert count.by == ("service", "worker", "attributes.order_id")
    assert isinstance(match, MatchRule)
    assert isinstance(liveness, LivenessRule)
    assert liveness.states == ("dead",)
    assert isinstance(telegram, TelegramChannel)
    assert telegram.chat_id == -100123
    assert isinstance(email, EmailChannel)
    assert email.from_ == "Outrider <alerts@example.org>"
    assert [route.continue_ for route in rule_set.routes] == [True, False]
    assert rule_set.minimum_engine == 1


def test_the_ready_rules_are_without_a_fault() -> None:
    """The rules that come with Outrider are accepted without a word."""
    assert rule_files.lint(ready.files()) == []
    names = {rule.name for rule in rule_files.read(ready.files()).rules}
    assert {"worker-died", "worker-silent", "error-spike"} <= names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[rule]\n", "not TOML"),
        ("x = 1\n", "unknown table `x`: a.toml:1: known: channel, route, rule"),
        ("[[rules]]\n", "unknown table `rules`: a.toml:1: did you mean `rule`?"),
        ("[rule]\nname = 'a'\n", "`rule` is not a list of tables: a.toml:1: write [[rule]]"),
        (
            '[[rule]]\nname = "a"\nkind = "zzz"\n',
            "rule `a`: unknown kind `zzz`: a.toml:3: known: match, count, ratio, spike, absence",
        ),
        (
            '\n[[rule]]\nname = "a"\nkind = "cuont"\n',
            "rule `a`: unknown kind `cuont`: a.toml:4: did you mean `count`?",
        ),
        ('[[rule]]\nname = "a"\n', "rule `a`: `kind` is missing: a.toml:1"),
        ("[[rule]]\nkind = 3\n", "rule 1: `kind` is a text: a.toml:2"),
        (
            COUNT + 'windw = "5m"\n',
            "rule `errors`: unknown key `windw`: a.toml:8: did you mean `window`?",
        ),
        (COUNT + "below = 3\n", "both `above` and `below`: a.toml:8: write two rules"),
        (COUNT + "belwo = 3\n", "unknown key `belwo`: a.toml:8: did you mean `below`?"),
        (COUNT + 'no_data = "fire"\n', "never said to be there unseen: a.toml:8: keep or resolve"),
        (COUNT + "of = [6, 5]\n", "`of` is [6, 5]: a.toml:8: [3, 5] is 3 of the last 5 windows"),
        (
            COUNT.replace("above = 3", "above = { warning = 9, critical = 3 }"),
            "`above` of a higher priority is not higher: a.toml:7",
        ),
        (COUNT.replace("above = 3", "above = { high = 3 }"), "a.toml:7: One of: info, warning, "),
        (
            COUNT.replace("above = 3", "above = {}"),
            "`above` names no priority: a.toml:7: above = {",
        ),
        (COUNT.replace('"10s"', '"10"'), "`10` is not a duration, write it like 30s, 5m or 1h30m"),
        (
            COUNT.replace('"10s"', "10"),
            '`window`: expected a length such as "90s" or "5m", got a whole number: a.toml:6',
        ),
        (
            COUNT.replace("above = 3", 'above = "3"'),
            "`above`: expected a whole number or a table in { }, got a text in quotes: a.toml:7",
        ),
        (
            FULL.replace("chat_id = -100123", 'chat_id = "-100123"'),
            "channel `ops`: `chat_id`: expected a whole number, got a text in quotes: a.toml:38",
        ),
        (
            COUNT.replace('"severity>=error"', "5"),
            "`filter`: expected a filter in quotes, got a whole number: a.toml:5",
        ),
        (COUNT.replace('"10s"', '"0s"'), "`window` is shorter than 1s: a.toml:6"),
        (COUNT.replace('"10s"', '"25h"'), "`window` is longer than 24h: a.toml:6"),
        (COUNT.replace('"10s"', '"1500ms"'), "`window` is not whole seconds: a.toml:6"),
        (COUNT.replace("above = 3", "above = -1"), "`above` is -1: a.toml:7"),
        (
            COUNT.replace("above = 3\n", ""),
            "neither `above` nor `below`: a.toml:2: say above = 10, or below = 1",
        ),
        (COUNT + "resolve = 4\n", "`resolve` is 4: a.toml:8: 0 to `above` (3)"),
        (COUNT + "max_instances = 0\n", "`max_instances` is 0: a.toml:8: 1 to 1000"),
        (COUNT + "evidence = 11\n", "`evidence` is 11: a.toml:8: 0 to 10 lines"),
        (COUNT + 'by = ["wrker"]\n', "no field `wrker`: a.toml:8: did you mean `worker`?"),
        (COUNT + 'by = ["host", "host"]\n', "a field twice in `by`: a.toml:8"),
        (COUNT + 'runbook = "ftp://x"\n', "`runbook` is not an http or https URL: a.toml:8"),
        (
            COUNT + 'priority = "high"\n',
            "`priority`: unknown value `high`: a.toml:8: One of: info, warning, critical",
        ),
        (COUNT + 'labels = { rule = "x" }\n', "the label `rule` is set by itself: a.toml:8"),
        (COUNT + 'summary = "{cuont}"\n', "no value `{cuont}`: a.toml:8: did you mean `{count}`?"),
        (COUNT + 'summary = "{worker}"\n', "no value `{worker}`: a.toml:8"),
        (COUNT + 'summary = "{count"\n', "a lone `{` at column 1"),
        (COUNT + 'summary = "{count!r}"\n', "a lone `{` at column 1"),
        (COUNT + 'summary = "{count.__class__}"\n', "no value `{count.__class__}`"),
        (
            COUNT.replace("severity>=error", "severity=>error"),
            "`filter`: column 9: `=>` is not a comparison; did you mean `>=`?: a.toml:5",
        ),
        (COUNT + COUNT, "a rule `errors` exists already: a.toml:10: the first is in a.toml:2"),
        (COUNT.replace("errors", "no spaces here"), "`no spaces here` is not a name: a.toml:3"),
        (
            '[[rule]]\nname = "a"\nkind = "match"\nfilter = "x"\nfor = "5s"\n',
            "a match fires at once: a.toml:5",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "liveness"\nstates = ["ded"]\n',
            "`states[0]`: unknown value `ded`: a.toml:4: did you mean `dead`? One of: silent, ",
        ),
        (
            '[[rule]]\nname = "a"\nkind = "liveness"\nfilter = "srvice:a"\n',
            "no field `srvice` here: a.toml:4: did you mean `service`?",
        ),
        ('[[route]]\nchannels = ["ops"]\n', "no channel `ops`: a.toml:2"),
        (
            FULL.replace("chat_id = -100123", 'chat_id = 1\ndashboard_url = "outrider.example"'),
            "`dashboard_url` is not an http or https URL: a.toml:39: write the dashboard's address",
        ),
        ("[[route]]\nchannels = []\n", "a route without channels: a.toml:2"),
        (
            '[[channel]]\nname = "a"\ntype = "pager"\n',
            "channel `a`: unknown type `pager`: a.toml:3: known: telegram, email, webhook",
        ),
        (FULL.replace('"oncall-mail"', '"in-app"'), "`in-app` is always there: a.toml:41"),
        (FULL.replace("chat_id = -100123\n", ""), "channel `ops`: `chat_id` is missing: a.toml:34"),
        (
            FULL.replace('username = "alerts"', 'tls = "none"'),
            "mail without TLS goes to loopback only: a.toml:44: use starttls or tls",
        ),
        (FULL.replace('username = "alerts"\n', ""), "`username` and `password_file` go together"),
        (FULL.replace("<alerts@example.org>", "<a@b>\\r\\nBcc: x@y"), "is not a mail address"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    """Each mistake names file, line, what is wrong and, where there is one, the nearest name."""
    assert any(told in problem for problem in problems(text)), problems(text)
    with pytest.raises(RulesInvalid):
        rules(text)


def test_all_mistakes_are_told_at_once() -> None:
    """Several mistakes in several files come in one list, in the order of files and lines."""
    found = rule_files.lint(
        [("b.toml", COUNT.replace('"10s"', '"x"')), ("a.toml", COUNT + "a = 1\nb = 2\n")]
    )

    assert [(problem.file, problem.line) for problem in found] == [
        ("a.toml", 8), ("a.toml", 9), ("b.toml", 6),
    ]  # fmt: skip


def test_all_mistakes_of_one_rule_are_told_at_once() -> None:
    """One wrong value does not hide the others of its table, nor a key that is missing."""
    text = COUNT.replace('"10s"', '"x"').replace("above = 3", 'above = "3"')
    found = rule_files.lint([("a.toml", text + 'priority = "high"\n')])
    lacking = rule_files.lint([("a.toml", COUNT.replace('window = "10s"', 'priority = "high"'))])

    assert [(problem.line, problem.key) for problem in found] == [
        (6, "rule[0].window"), (7, "rule[0].above"), (8, "rule[0].priority"),
    ]  # fmt: skip
    assert [problem.key for problem in lacking] == ["rule[0]", "rule[0].priority"]


@pytest.mark.parametrize(("text", "told"), [
    (
        'kind = "count"\nfilter = "x"\nwindow = "2d"\nabove = "ten"\nsummary = "{cuont}"',
        ["`window` is longer than 24h", "`above`: expected", "no value `{cuont}`"],
    ),
    (
        'kind = "count"\nabove = 3\nresolve = 9\nsummary = "{cuont}"\nfor = "1ms"',
        ["`filter` is missing", "`window` is missing", "no value `{cuont}`", "`for` is not whole"],
    ),
    # What the key gives a name to cannot be known.
    ('kind = "count"\nfilter = "x"\nwindow = "5m"\nabove = 3\nby = 7\nsummary = "{worker}"',
     ["`by`: expected"]),
    ('kind = "schedule"\ntimezone = "Europe/Berln"', ["`filter` is missing", "`cron` is missing",
                                                     "no time zone `Europe/Berln`"]),
])  # fmt: skip
def test_what_is_wrong_beside_a_mistake_is_told_with_it(text: str, told: list[str]) -> None:
    """One run finds what is surely wrong, and nothing that a mistake beside it may have caused."""
    found = problems(f'[[rule]]\nname = "r"\n{text}\n')

    assert len(found) == len(told), found
    for said in told:
        assert any(said in problem for problem in found), (said, found)


@given(st.dictionaries(
    st.sampled_from(["filter", "of", "window", "above", "below", "by", "field", "summary", "cron",
                     "for", "labels", "within", "states", "baseline", "test", "resolve"]),
    st.sampled_from([1, "x", "5m", "", [], ["x"], {"info": 3}, True, -1, "{x}", [1, 2]]),
), st.sampled_from(sorted(KINDS)))  # fmt: skip
def test_no_mixture_of_mistakes_is_too_much(keys: dict[str, object], kind: str) -> None:
    """Whatever stands in a rule, reading it ends with a list of what is wrong."""
    lines = "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
    problems(f'[[rule]]\nname = "r"\nkind = "{kind}"\n{lines}')


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def test_a_name_is_unique_over_all_files() -> None:
    """Two files may not both have a rule of one name."""
    found = rule_files.lint([("a.toml", COUNT), ("b.toml", COUNT)])

    assert [str(problem) for problem in found] == [
        "rule `errors`: a rule `errors` exists already: b.toml:3: the first is in a.toml:2"
    ]


def test_doubtful_is_no_error() -> None:
    """A channel that no route reaches, and a route that no alert reaches, are told but accepted."""
    text = FULL + '[[route]]\nmatch = "team:x"\nchannels = ["ops"]\n'
    found = rule_files.lint([("a.toml", text)])

    assert [(problem.message, problem.is_error) for problem in found] == [
        ("route 3: no alert can reach this route", False)
    ]
    assert len(rules(text).routes) == 3


@pytest.mark.parametrize(
    ("match", "told"),
    [
        (
            "servce:x",
            (
                "no rule gives its alerts a label `servce`: did you mean `service`? "
                "There are: rule, kind, priority, service"
            ),
        ),
        ("rule:error", "no rule `error`: did you mean `errors`? There are: errors"),
        ("service:x rule:err*", None),
        ("-priority:critical", None),
    ],
)
def test_a_route_that_no_alert_can_match_is_doubtful(match: str, told: str | None) -> None:
    """A mistyped label or rule in a route is told with what exists; one that exists is not."""
    text = f"""{COUNT}
by = ["service"]
[[channel]]
name = "ops"
type = "webhook"
url = "https://ops.example"
[[route]]
match = "{match}"
channels = ["ops"]
"""
    found = [(p.key, p.message, p.is_error) for p in rule_files.lint([("a.toml", text)])]

    assert found == ([("route[0].match", f"route 1: {told}", False)] if told else [])


def test_a_doubt_names_the_nearest_and_counts_the_many() -> None:
    """Of thirty rules a line for people names ten; the one that was meant comes first."""
    many = "".join(COUNT.replace('"errors"', f'"errors-{n}"') for n in range(30))
    text = many + (
        '[[channel]]\nname = "ops"\ntype = "webhook"\nurl = "https://ops.example"\n'
        '[[route]]\nmatch = "rule:erors-29"\nchannels = ["ops"]\n'
    )
    (found,) = rule_files.lint([("a.toml", text)])
    assert "did you mean `errors-29`? There are: errors-0, " in found.message
    assert found.message.endswith("errors-9 and 20 more")


def test_hits_belong_to_filter_and_by() -> None:
    """A change of threshold keeps the hits key; a change of filter or `by` does not."""
    key = hits_key(rules(COUNT).rules[0])

    assert hits_key(rules(COUNT.replace("above = 3", "above = 9")).rules[0]) == key
    assert hits_key(rules(COUNT.replace(">=error", ">=fatal")).rules[0]) != key
    assert hits_key(rules(COUNT + 'by = ["worker"]\n').rules[0]) != key
    assert hits_key(rules('[[rule]]\nname = "a"\nkind = "liveness"\n').rules[0]) is None


def test_diff_names_what_differs() -> None:
    """Added, changed and removed rules, channels and routes are named; an equal set is empty."""
    old = rules(FULL)
    new = rules(
        FULL.replace("above = 10", "above = 11")
        .replace("out-of-memory", "oom")
        .replace("continue = true", "continue = false")
    )

    assert not diff(old, rules(FULL))
    assert diff(old, new) == (
        ("rule oom",), ("routes", "rule payment-errors"), ("rule out-of-memory",),
    )  # fmt: skip


def test_a_definition_is_what_was_written() -> None:
    """The stored definition of a rule has durations and filters as texts."""
    stored = definition(rules(FULL).rules[0])

    assert stored["window"] == "5m"
    assert stored["filter"] == "service:payments severity>=error"
    assert stored["for"] == "30s"
