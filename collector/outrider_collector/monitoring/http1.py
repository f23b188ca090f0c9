"""As much of HTTP/1.1 as three small pages need: one request, one answer, then the end. Pure.

Whatever is not plainly a GET or HEAD of a path is refused with the status that says why, because
what is not understood cannot be misunderstood. A body that comes with a request is never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from outrider.addresses import host_of, is_loopback

MAX_HEAD_BYTES = 8 * 1024
MAX_HEADERS = 64
END_OF_HEAD = b"\r\n\r\n"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    @classmethod
    def text(cls, status: HTTPStatus, line: str) -> Answer:
        """Return an answer of one line of text."""
        return cls(status, f"{line}\n".encode("utf-8", "replace"))

    def encoded(self, *, head_only: bool = False) -> bytes:
        """Return the bytes on the wire; the connection ends after them."""
        allow = "Allow: GET, HEAD\r\n" if self.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n"
            f"{allow}"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode("ascii") + (b"" if head_only else self.body)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was understood."""

    path: str
    """Without its query."""
    head_only: bool


def parse(head: bytes) -> Request | Answer:
    """Return the request that ``head``, which ends with an empty line, asks; else the refusal."""
    try:
        lines = head.removesuffix(END_OF_HEAD).decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return Answer.text(HTTPStatus.BAD_REQUEST, "The head of the request is not ASCII.")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        return Answer.text(HTTPStatus.BAD_REQUEST, "The first line is no request for a path.")
    method, target, version = parts
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        return Answer.text(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here.")
    return _refusal(method, version, lines[1:]) or Request(
        target.partition("?")[0], method == "HEAD"
    )


def _refusal(method: str, version: str, headers: list[str]) -> Answer | None:
    if method not in {"GET", "HEAD"}:
        return Answer.text(HTTPStatus.METHOD_NOT_ALLOWED, "These pages only read.")
    if len(headers) > MAX_HEADERS:
        return Answer.text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many headers.")
    hosts = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not value.isprintable():
            return Answer.text(HTTPStatus.BAD_REQUEST, "A header is not `name: value`.")
        if name.lower() == "host":
            hosts.append(value.strip())
    if len(hosts) > 1 or (not hosts and version == "HTTP/1.1"):
        return Answer.text(HTTPStatus.BAD_REQUEST, "A request names one host.")
    # A page elsewhere could point a name of its own here and read what a browser fetches for it.
    if hosts and not is_loopback(host_of(hosts[0])):
        return Answer.text(
            HTTPStatus.MISDIRECTED_REQUEST,
            "These pages answer to a loopback name only, such as 127.0.0.1.",
        )
    return None
