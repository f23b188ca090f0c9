"""Telegram's HTML, parsed as strictly as Telegram does: what is refused there is refused here.

Only the tags of the Bot API's HTML style exist; they must be closed in order; `<` must be written
as an entity. The text that counts against the limit of 4,096 is what remains after parsing, in
UTF-16 units.
"""

from __future__ import annotations

import html
import re

TEXT_LIMIT_UNITS = 4096
ENTITIES_MAX = 100

_TAGS = frozenset(
    {"a", "b", "blockquote", "code", "del", "em", "i", "ins", "pre", "s", "span", "strike"}
    | {"strong", "tg-emoji", "tg-spoiler", "u"}
)
_TAG = re.compile(r"<(/?)([a-zA-Z0-9-]*)([^<>]*)(>?)")
_ENTITY = re.compile(r"&(#\d+|#[xX][0-9a-fA-F]+|lt|gt|amp|quot);")


class MarkupError(ValueError):
    """What Telegram would answer, without the "Bad Request: " before it."""


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


def parse(text: str) -> tuple[str, int]:
    """Return the text a reader sees and the number of entities; MarkupError names the place."""
    plain: list[str] = []
    open_tags: list[str] = []
    entities = position = 0
    while position < len(text):
        if text[position] != "<":
            end = text.find("<", position)
            end = len(text) if end < 0 else end
            plain.append(_unescape(text[position:end]))
            position = end
            continue
        offset = len(text[:position].encode())
        match = _TAG.match(text, position)
        if match is None or not match[4]:
            raise MarkupError(f"can't parse entities: Unclosed start tag at byte offset {offset}")
        closing, name = match[1], match[2].lower()
        if closing:
            _close(open_tags, name, offset)
        elif name not in _TAGS:
            raise MarkupError(
                f'can\'t parse entities: Unsupported start tag "{name}" at byte offset {offset}'
            )
        else:
            open_tags.append(name)
            entities += 1
        position = match.end()
    if open_tags:
        raise MarkupError(
            "can't parse entities: Can't find end tag corresponding to start tag "
            f'"{open_tags[-1]}"'
        )
    return "".join(plain).strip(), entities


def _close(open_tags: list[str], name: str, offset: int) -> None:
    if not open_tags:
        raise MarkupError(f"can't parse entities: Unexpected end tag at byte offset {offset}")
    expected = open_tags.pop()
    if name not in ("", expected):
        raise MarkupError(
            f"can't parse entities: Unmatched end tag at byte offset {offset}, "
            f'expected "</{expected}>", found "</{name}>"'
        )


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)
