"""`outrider store`, as a user types it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from outrider.errors import Fault
from outrider_collector.store import partitions, schema
from outrider_collector.store.quarantine import payload
from outrider_collector.terminal import store as store_command
from tests.collector.store.making import make_columns

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg


@pytest.fixture(autouse=True)
def _environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)
    monkeypatch.setenv("OUTRIDER_CONFIG", "/dev/null")


def test_migrate_says_what_is_in_place(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """Migrating a current database is done at once; --check finds nothing."""
    del beside
    assert store_command.main(["migrate"]) == 0
    assert store_command.main(["migrate", "--check"]) == 0
    assert f"schema {schema.migrations()[-1].version} is in place" in capsys.readouterr().out


def test_check_finds_what_is_to_do(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """Exit code 3 and a line for each finding; nothing is changed."""
    beside.execute("delete from schema_migrations")
    assert store_command.main(["migrate", "--check"]) == 3
    assert "to apply: 0001_foundation" in capsys.readouterr().out
    assert beside.execute("select count(*) from schema_migrations").fetchone() == (0,)


def test_stats_are_sentences_or_json(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """The same figures for people and for programs."""
    assert store_command.main(["stats"]) == 0
    assert "records     0 in 0 blocks" in capsys.readouterr().out
    assert store_command.main(["stats", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["records"] == 0
    # They were made in another hour where a full hour has passed since; this asks as late as stats.
    hours = [
        partitions.partition_hour(name)
        for (name,) in beside.execute(
            "select relname from pg_class join pg_inherits on inhrelid = pg_class.oid"
            " where inhparent = 'blocks_fresh'::regclass"
        )
    ]
    row = beside.execute("select clock_timestamp()").fetchone()
    assert row is not None
    assert figures["partitions"] == len(hours)
    assert figures["hours_ahead"] == sum(hour is not None and hour > row[0] for hour in hours)


def test_stats_say_how_full_the_disk_is_and_what_a_day_costs(
    capsys: pytest.CaptureFixture[str],
    beside: psycopg.Connection,
    tmp_path: Path,
) -> None:
    """By the budget of the settings; a class of which nothing is there costs nothing."""
    beside.execute("insert into agents (host, token_hash) values ('h', 'x')")
    beside.execute("update agents set created_at = now() - interval '9 days'")
    settings = tmp_path / "outrider.toml"
    settings.write_text('[store]\ndisk_budget = "900GB"\n')
    named = ["--config", str(settings)]

    assert store_command.main([*named, "stats"]) == 0
    said = capsys.readouterr().out
    assert "\ndisk        " in said
    assert "stays under it, at most" in said
    assert re.search(r"\ndebug +3d +0 B +0 B +0 B\n", said)
    assert store_command.main(["stats", "--json", *named]) == 0
    disk = json.loads(capsys.readouterr().out)["disk"]
    assert disk["budget_bytes"] <= 900 * 10**9
    assert (disk["state"], disk["full_in_days"]) == ("up", None)
    kept = {one["class"]: one["kept_days"] for one in disk["classes"]}
    assert kept == {
        "debug": 3, "app": 30, "ops": 30, "security": 400, "audit": 400, "audit log": 400,
    }  # fmt: skip


def test_upkeep_by_hand_has_its_sum_as_json(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """Each prints one document, and nothing else, for whoever scripts it."""
    beside.execute(
        "create table blocks_fresh_2001010100 partition of blocks_fresh"
        " for values from ('2001-01-01 00:00Z') to ('2001-01-01 01:00Z')"
    )
    assert store_command.main(["retention", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["dropped"], done["shed"]) == (["blocks_fresh_2001010100"], [])
    assert done["kept"]["debug"] == "3d"
    assert store_command.main(["verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"records": 0, "blocks": 0, "findings": []}
    assert store_command.main(["compact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 0


def test_a_terminal_is_told_what_is_looked_at_and_left_clean(
    capsys: pytest.CaptureFixture[str],
    beside: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Progress goes to standard error, over itself; what is found stays on standard output."""
    del beside
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert store_command.main(["retention"]) == 0
    told = capsys.readouterr()
    assert "\rrows of gaps\x1b[K" in told.err
    assert told.err.endswith("\r\x1b[K")
    assert told.out.startswith("every day kept")


def test_retention_drops_old_hours_now(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """An hour of long ago is dropped and named."""
    beside.execute(
        "create table blocks_fresh_2001010100 partition of blocks_fresh"
        " for values from ('2001-01-01 00:00Z') to ('2001-01-01 01:00Z')"
    )
    assert store_command.main(["retention"]) == 0
    assert "dropped blocks_fresh_2001010100" in capsys.readouterr().out


def test_quarantine_is_listed_and_shown_as_text_that_does_nothing(
    capsys: pytest.CaptureFixture[str], beside: psycopg.Connection
) -> None:
    """Which records were refused, why, and what they hold; no byte of them reaches a terminal."""
    assert store_command.main(["quarantine"]) == 0
    assert "nothing is in quarantine" in capsys.readouterr().out
    hostile = make_columns([b"\x1b]0;owned\x07 \xff \xe2\x80\xae"], begin=70)
    beside.execute(
        "insert into quarantine (commit_id, team, stream, begin_offset, end_offset, sqlstate,"
        " reason, payload) values (1, 1, 7, 70, 80, '22021', 'invalid byte \u202e', %s)",
        (payload(hostile),),
    )
    assert store_command.main(["quarantine"]) == 0
    listed = capsys.readouterr().out
    assert "stream 7, 70 to 80" in listed
    assert "\u202e" not in listed
    assert store_command.main(["quarantine", "1"]) == 0
    shown = capsys.readouterr().out
    assert "owned" in shown
    assert [c for c in shown if c in "\x1b\x07\u202e"] == []
    assert store_command.main(["quarantine", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sqlstate"], found["records"][0]["stream_offset"]) == ("22021", 70)
    with pytest.raises(Fault, match="no number 9"):
        store_command.main(["quarantine", "9"])


def test_a_wrong_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 for what does not exist."""
    with pytest.raises(SystemExit) as caught:
        store_command.main(["frobnicate"])

    assert caught.value.code == 2
    assert "frobnicate" in capsys.readouterr().err
