"""What a button under a message carries: which act on which alert, and proof that we made it.

::

    a.12.814000000.kJ3x9...      action . alert . second its episode began . proof

At most 64 bytes, which is what Telegram allows. The proof is half of an HMAC-SHA-256 over the rest
and the chat, with a key made from the bot's token: who does not have the token cannot make one, one
from another chat is worthless, and revoking the token revokes all buttons. The beginning tells
apart alerts of the same number in two databases. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final, Literal, NamedTuple

Action = Literal["acknowledge", "silence", "details"]

LABELS: Final[dict[Action, str]] = {
    "acknowledge": "Acknowledge",
    "silence": "Silence 1h",
    "details": "Details",
}
_LETTERS: Final[dict[Action, str]] = {"acknowledge": "a", "silence": "s", "details": "d"}
_ACTIONS: Final[dict[str, Action]] = {letter: action for action, letter in _LETTERS.items()}
_PROOF_BYTES = 16


class Pressed(NamedTuple):
    """What a genuine button says."""

    action: Action
    alert: int
    episode: str


def button(token: str, chat: int, action: Action, episode: str) -> str:
    """Return the data of a button; ``episode`` is ``alert.second``."""
    said = f"{_LETTERS[action]}.{episode}"
    return f"{said}.{_proof(token, chat, said)}"


def read(token: str, chat: int, data: str) -> Pressed | None:
    """Return what the data says, or None when we did not make it for this chat."""
    said, _, proof = data.rpartition(".")
    if not hmac.compare_digest(
        proof.encode("utf-8", "replace"), _proof(token, chat, said).encode()
    ):
        return None
    letter, _, episode = said.partition(".")
    alert, _, _ = episode.partition(".")
    if letter not in _ACTIONS or not alert.isdecimal():
        return None
    return Pressed(_ACTIONS[letter], int(alert), episode)


def _proof(token: str, chat: int, said: str) -> str:
    key = hashlib.sha256(b"outrider buttons\n" + token.encode()).digest()
    digest = hmac.digest(key, f"{chat}\n{said}".encode("utf-8", "replace"), "sha256")
    return base64.urlsafe_b64encode(digest[:_PROOF_BYTES]).decode().rstrip("=")
