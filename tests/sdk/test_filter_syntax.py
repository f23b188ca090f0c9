"""The filter's text: what it means, that it round-trips, and what is said when it is wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.filter import (
    And,
    Field,
    FilterError,
    Kind,
    Node,
    Not,
    Or,
    Phrase,
    Regex,
    Word,
    parse,
    tokens,
)
from outrider.filter.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("", And(())),
        ("timeout", Word("timeout")),
        ("time*", Word("time", prefix=True)),
        ('"timed out"', Phrase("timed out")),
        (r'"say \"a\\b\" \n"', Phrase(r'say "a\b" \n')),
        ("a b", And((Word("a"), Word("b")))),
        ("a AND b", And((Word("a"), Word("b")))),
        ("a OR b c", Or((Word("a"), And((Word("b"), Word("c")))))),
        ("(a OR b) c", And((Or((Word("a"), Word("b"))), Word("c")))),
        ("a (b c)", And((Word("a"), Word("b"), Word("c")))),
        ("-a", Not(Word("a"))),
        ("NOT (a b)", Not(And((Word("a"), Word("b"))))),
        ("web-3", Word("web-3")),
        ("and or not", And((Word("and"), Word("or"), Word("not")))),
        ("service:payments", Field("service", ":", "payments")),
        ('worker:"a b"', Field("worker", ":", "a b")),
        ('worker:"a b"*', Field("worker", ":", "a b", prefix=True)),
        ("error_code:EXCHANGE_*", Field("error_code", ":", "EXCHANGE_", prefix=True)),
        ("attrs.order_id:42", Field("attributes.order_id", ":", "42")),
        ("attributes.a.b>-2.5e3", Field("attributes.a.b", ">", "-2.5e3")),
        ("attrs.url:http://x?a=b", Field("attributes.url", ":", "http://x?a=b")),
        ('attrs.day>="2026-07-01"', Field("attributes.day", ">=", "2026-07-01", quoted=True)),
        ('severity>="error"', Field("severity", ">=", "error")),
        (r"/a\/b/ c", And((Regex(r"a\/b"), Word("c")))),
        ("logger:(/^db/ OR x)", Or((Field("logger", "~", "^db"), Field("logger", ":", "x")))),
        ("attrs.x:*", Field("attributes.x", ":", "", prefix=True)),
        ("severity>=err", Field("severity", ">=", "error")),
        ("severity:WARNING", Field("severity", ":", "warn")),
        ("severity>critical", Field("severity", ">", "fatal")),
        ("severity:notice", Field("severity", ":", "10")),
        ("severity<17", Field("severity", "<", "17")),
        ("service:(a OR -b*)",
         Or((Field("service", ":", "a"), Not(Field("service", ":", "b", prefix=True))))),
        ("trace_id:0AF76519-16CD-43DD-8448-EB211C80319C",
         Field("trace_id", ":", "0af7651916cd43dd8448eb211c80319c")),
        ("/var/log/x", Word("/var/log/x")),
        ("failed!", Word("failed!")),
    ],
)  # fmt: skip
def test_texts_and_their_trees(text: str, node: Node) -> None:
    """Each form of the grammar gives the tree it is documented to give."""
    assert parse(text).node == node


@pytest.mark.parametrize(
    ("text", "column", "said", "suggestion"),
    [
        ("service:payments wait severity=>error", 31, "`=>` is not a comparison", ">="),
        ("severity=error", 9, "`=` is not a comparison", ":"),
        ("service!=x", 8, "`!=` is not a comparison", None),
        ("servi\0ce:x", 6, "NUL", None),
        ('"\ud800"', 2, "not UTF-8", None),
        ("caf\udce9 zzz", 4, "not UTF-8", None),
        ("servce:x", 1, "no field `servce`", "service"),
        ("order_id:42", 1, "no field `order_id`", "attrs.order_id"),
        ("attr.ms>1", 1, "no field `attr.ms`", "attrs.ms"),
        ("level>=error", 1, "no field `level`", "severity"),
        ("message:foo", 1, "leave out the field", None),
        ("severity>=eror2", 11, "is no severity", "error"),
        ("service>3", 9, "`service` has no order", None),
        ("severity>=eror", 11, "is no severity", "error"),
        ("severity:warnin", 10, "is no severity", "warning"),
        ("attrs.ms>fast", 10, "compares numbers", '"fast"'),
        ("error since:1h", 7, "the range stands beside it", None),
        ("attrs..ms:1", 1, "empty step", None),
        ("service:", 8, "a value is missing", None),
        ("a OR", 3, "something is missing after `OR`", None),
        ("OR a", 1, "something is missing before `OR`", None),
        ("a AND OR b", 7, "something is missing before `OR`", None),
        ("()", 2, "something is missing before `)`", None),
        ("a (b", 3, "the parenthesis is never closed", None),
        ("a b)", 4, "`)` closes nothing", None),
        ('a "b', 3, "the quote is never closed", None),
        ('""', 1, "an empty phrase", None),
        ("- a", 1, "must stand directly before", None),
        ("ti*out", 3, "only stand at the end", None),
        ("*", 1, "an empty filter matches everything", None),
        (":x", 1, "a field is missing", None),
        ("stream:abc", 8, "a stream is a number", None),
        ("trace_id:12", 10, "32 hexadecimal digits", None),
        ("service:(a:b)", 10, "a field inside the values", None),
        ("severity>=(a OR b)", 9, "only `:` may stand before", None),
        ("severity:err*", 10, "takes no `*`", None),
        ("attrs.ms>2*", 10, "no meaning after `>`", None),
        ("a /b(c/", 4, "missing ) in a regular expression", None),
        ("event:/[z-a]/", 9, "invalid character class range", None),
        ("/a(?<=b)/", 3, "RE2 has no look-around", None),
        (r"/(a)\1/", 5, "invalid escape sequence", None),
        (r"/(\pL{1000}){9}/", 13, "invalid repetition size", None),
        ("severity:/a/", 10, "takes no regular expression", None),
        ("attrs.a>/a/", 9, "takes no regular expression", None),
    ],
)
def test_mistakes_are_pointed_at(text: str, column: int, said: str, suggestion: str | None) -> None:
    """An error names the column, what is wrong and, where it can be known, what was meant."""
    with pytest.raises(FilterError) as caught:
        parse(text)

    assert caught.value.column == column
    assert said in str(caught.value)
    assert caught.value.suggestion == suggestion
    assert 0 <= caught.value.position <= caught.value.position + caught.value.length <= len(text)


def test_limits() -> None:
    """Text, depth and number of terms are limited, and the error points to where it goes beyond."""
    parse("a " * MAX_TERMS)
    parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)
    for text in ("a " * (MAX_TERMS + 1), "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1),
                 "-" * (MAX_DEPTH + 1) + "a", "a" * (MAX_LENGTH + 1)):  # fmt: skip
        with pytest.raises(FilterError):
            parse(text)


def test_labels_take_any_name_and_the_ladder_of_priorities() -> None:
    """On labels every name is a field; a wrong priority is suggested."""
    assert parse("rule:x team>=2", labels=True).node == And(
        (Field("rule", ":", "x"), Field("team", ">=", "2"))
    )
    with pytest.raises(FilterError, match="did you mean `critical`"):
        parse("priority>=critcal", labels=True)


_safe_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_words = _safe_text.filter(
    lambda w: (
        bool(w)
        and not any(c.isspace() or c in '()":<>=*!/' for c in w)
        and not w.startswith("-")
        and w not in {"AND", "OR", "NOT"}
    )
)
_numbers = st.integers(-10, 10).map(str) | st.floats(0.1, 10).map(lambda f: f"{f:.3f}")
_paths = st.lists(st.from_regex(r"[a-z_][a-z0-9_@-]{0,5}", fullmatch=True), min_size=1, max_size=3)
_patterns = st.sampled_from(["a", "time.*out", r"a\/b", "[)(]", r"\d+ (ms|s)", "x y$"])
_leaves = st.one_of(
    st.builds(Word, _words, st.booleans()),
    st.builds(Phrase, _safe_text.filter(bool)),
    st.builds(Field, st.sampled_from(["service", "event", "logger"]), st.just(":"), _safe_text,
              st.booleans()),
    st.builds(Field, st.just("severity"), st.sampled_from([":", ">", "<="]),
              st.sampled_from(["info", "error", "10", "24"])),
    st.builds(Field, _paths.map(lambda p: "attributes." + ".".join(p)),
              st.sampled_from([">", "<", ">=", "<="]), _numbers),
    st.builds(Field, _paths.map(lambda p: "attributes." + ".".join(p)),
              st.sampled_from([">", "<", ">=", "<="]), _safe_text, st.just(False), st.just(True)),
    st.builds(Field, _paths.map(lambda p: "attributes." + ".".join(p)), st.just(":"), _safe_text,
              st.booleans()),
    st.builds(Regex, _patterns),
    st.builds(Field, st.sampled_from(["worker", "event", "attributes.a"]), st.just("~"),
              _patterns),
)  # fmt: skip


def _joined(kind: type[And | Or], terms: list[Node]) -> Node:
    flat: list[Node] = []
    for term in terms:
        flat.extend(term.terms if isinstance(term, kind) else [term])
    return kind(tuple(flat))


_trees: st.SearchStrategy[Node] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda t: _joined(And, t)),
        st.lists(inner, min_size=2, max_size=3).map(lambda t: _joined(Or, t)),
        inner.map(Not),
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(_trees)
def test_a_tree_written_and_read_is_the_same_tree(tree: Node) -> None:
    """parse(str(tree)) is the tree, whatever characters are in its values."""
    assert parse(str(tree)).node == tree


_pieces = ["service", ":", ">=", "=>", "(", ")", '"', "-", "*", "/", "a", " ", "OR", "NOT",
           "attrs.", "severity", "error", "\\"]  # fmt: skip
_nearly = st.lists(st.sampled_from(_pieces), max_size=14).map("".join)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60) | _nearly)
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    """Nothing that can be typed raises anything but a FilterError inside the text; reading again
    what was understood gives the same.
    """
    spans = tokens(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    try:
        node = parse(text).node
    except FilterError as error:
        place = error.position
    else:
        place, again = 0, parse(str(node)).node
        assert again == node
    assert 0 <= place <= len(text)


def test_tokens_for_highlighting() -> None:
    """Tokens name their kind and place, and go on after a mistake."""
    text = 'service:x -"a b" (severity=>error OR time*'
    kinds = [(text[t.start : t.end], t.kind) for t in tokens(text)]

    assert kinds == [
        ("service", Kind.FIELD), (":", Kind.COMPARISON), ("x", Kind.VALUE), ("-", Kind.MINUS),
        ('"a b"', Kind.PHRASE), ("(", Kind.PARENTHESIS), ("severity", Kind.FIELD),
        ("=>", Kind.ERROR), ("error", Kind.WORD), ("OR", Kind.KEYWORD), ("time*", Kind.WORD),
    ]  # fmt: skip


def test_the_key_is_the_same_for_the_same_question() -> None:
    """Order, repetition, spacing, parentheses and the case of words do not change the key."""
    key = parse("service:a (Timeout OR b) severity>=error").key

    assert parse("severity>=err   (b OR timeout OR b) AND service:a service:a").key == key
    assert parse("severity>=err (b OR timeout) service:A").key != key
    assert parse("--a") == parse("a")
