"""Colours can be read: computed from the style sheet's own values."""

from __future__ import annotations

import re

import pytest

from outrider_dashboard.rendering import STATIC

_PAIR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
TOKENS = {
    name: (light, dark)
    for name, light, dark in _PAIR.findall((STATIC / "tokens.css").read_text(encoding="utf-8"))
}
TEXT_ON = [
    (text, ground)
    for text in ("text", "text-2", "text-3", "accent", "ok", "warn", "bad", "blind")
    for ground in ("bg", "surface")
] + [
    ("text", "raised"), ("text-2", "raised"), ("text", "inset"), ("text-2", "inset"),
    ("text-3", "inset"), ("text", "token"), ("text-2", "token"),
    ("ok", "ok-bg"), ("warn", "warn-bg"), ("bad", "bad-bg"), ("blind", "blind-bg"),
    ("accent", "accent-bg"), ("text", "bad-bg"), ("text-2", "bad-bg"), ("text-2", "blind-bg"),
    ("text", "warn-bg"), ("text-2", "warn-bg"), ("text-3", "bad-bg"), ("bg", "text"),
    ("bad-bg", "bad"),
]  # fmt: skip
SHAPES_ON = [
    (shape, "bg")
    for shape in ("control", "ok-f", "ok-q", "warn-f", "bad-f", "blind-f", "vol", "accent")
]


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_can_be_read(text: str, ground: str, theme: int) -> None:
    """Every text colour has a contrast of 4.5 on every ground it stands on, in both themes."""
    assert contrast(TOKENS[text][theme], TOKENS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("shape", "ground"), SHAPES_ON)
def test_shapes_can_be_seen(shape: str, ground: str, theme: int) -> None:
    """Parts of controls and charts have a contrast of 3 in both themes."""
    assert contrast(TOKENS[shape][theme], TOKENS[ground][theme]) >= 3.0 - 0.05


def test_the_weight_of_all_files() -> None:
    """Everything a browser loads, scripts and styles together, stays under 150 kB."""
    files = [f for f in STATIC.rglob("*") if f.is_file() and not f.name.startswith("LICENSE")]

    assert sum(f.stat().st_size for f in files) < 150_000


def test_no_style_or_script_is_inline() -> None:
    """Templates hold no style attribute, no inline script and no handler, so the policy holds."""
    templates = list((STATIC.parent / "templates").glob("*.html"))
    assert len(templates) > 10
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", text), template
        assert not re.search(r"\|\s*safe\b", text), template
