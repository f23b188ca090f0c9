"""The layer behind the filter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_dashboard import highlight


def _text(runs: list[highlight.Run]) -> str:
    return "".join(letters.text for run in runs for letters in run.letters)


@given(st.text(alphabet='ab:()-"* \t>=<!ORserviy/', max_size=60))
def test_the_layer_repeats_the_text(text: str) -> None:
    """Joined, the runs are the text to the letter, also where it does not parse."""
    assert _text(highlight.runs(text)) == text


def test_terms() -> None:
    """Included and excluded terms are marked, operators and brackets lie bare between them."""
    runs = highlight.runs('(service:etl OR x) -event:job.tick "a b"')

    terms = [("".join(lt.text for lt in run.letters), run.term) for run in runs if run.term]

    assert terms == [
        ("service:etl", "in"), ("x", "in"), ("-event:job.tick", "out"), ('"a b"', "in"),
    ]  # fmt: skip


def test_a_mistake_offers_its_repair() -> None:
    """An error names the column and what was probably meant, and the repair parses."""
    found, mistake = highlight.read("service:trading severity=>error")

    assert found is None
    assert mistake is not None
    assert (mistake.column, mistake.suggestion) == (25, ">=")
    assert mistake.repaired == "service:trading severity>=error"
