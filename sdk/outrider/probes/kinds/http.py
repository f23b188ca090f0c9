"""HTTP(S): the answer's status, what its body holds, how long it took, the certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider import configuration
from outrider.filter.expressions import ExpressionError, expression_test
from outrider.probes import certificate
from outrider.probes.deadline import now_us
from outrider.probes.http import MAX_REDIRECTS, Response, checked, fetch
from outrider.probes.json_condition import condition, document
from outrider.probes.reach import ReachError
from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec, check_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys

_METHODS = ("GET", "HEAD", "POST", "PUT")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """What is asked, and what the answer should be."""

    url: str
    method: str
    headers: Mapping[str, str]
    token_file: str
    """Its content is sent as a bearer token."""
    body: str
    status: tuple[tuple[int, int], ...]
    """Ranges of statuses that are good."""
    contains: str
    regex: str
    json: str
    slow_ms: float
    redirects: int
    ca_file: str
    certificate_days: int
    matches: Callable[[str], bool] | None = field(compare=False, default=None)
    """What ``regex`` came to ..."""
    holds: Callable[[Any], bool] | None = field(compare=False, default=None)
    """... and ``json``."""


def _read(keys: Keys, networks: tuple[Network, ...]) -> HttpTarget:
    regex, json = keys.text("regex", ""), keys.text("json", "")
    try:
        matches = expression_test(regex) if regex else None
    except ExpressionError as error:
        raise keys.mistake("regex", str(error)) from None
    try:
        holds = condition(json) if json else None
    except ValueError as error:
        raise keys.mistake("json", str(error), "write it like attrs.status:ok") from None
    return HttpTarget(
        url=checked_url(keys, "url", keys.text("url"), networks),
        method=keys.choice("method", _METHODS, "GET"),
        headers=_headers(keys),
        token_file=_token_file(keys),
        body=keys.text("body", ""),
        status=tuple(_range(keys, one) for one in keys.values("status", ["200-299"])),
        contains=keys.text("contains", ""),
        regex=regex,
        json=json,
        slow_ms=keys.seconds("slow", "", "1ms", "60s") * 1_000,
        redirects=keys.integer("redirects", MAX_REDIRECTS, 0, 10),
        ca_file=certificate.read_ca_file(keys),
        certificate_days=certificate.read_days(keys),
        matches=matches,
        holds=holds,
    )


def checked_url(keys: Keys, key: str, url: str, networks: tuple[Network, ...]) -> str:
    """Return a URL that may be asked. Raises ConfigError."""
    try:
        parts = checked(url)
    except ReachError as error:
        raise keys.mistake(key, error.reason, "write it like https://host/path") from None
    check_reach(keys, key, parts.hostname or "", networks)
    return url


def _headers(keys: Keys) -> dict[str, str]:
    headers = keys.pairs("headers")
    for name, text in headers.items():
        if not name.isascii() or not name.replace("-", "").isalnum() or not text.isprintable():
            raise keys.mistake("headers", f"`{name}` is no header", "write names and plain texts")
    return headers


def _token_file(keys: Keys) -> str:
    path = keys.text("token_file", "")
    if path and not Path(path).is_absolute():
        raise keys.mistake("token_file", "no absolute path", "begin it with a slash")
    return path


def _range(keys: Keys, one: Any) -> tuple[int, int]:
    low, _, high = str(one).partition("-")
    if isinstance(one, (int, str)) and low.isdecimal() and (high or low).isdecimal():
        bounds = int(low), int(high or low)
        if 100 <= bounds[0] <= bounds[1] <= 599:
            return bounds
    raise keys.mistake("status", f"`{one}` is no status", 'write 200, or "200-299"')


def look(spec: Spec[HttpTarget], deadline: Deadline) -> Result:
    """Ask, and judge the answer."""
    target = spec.target
    headers = dict(target.headers)
    if target.token_file:
        try:
            headers["Authorization"] = f"Bearer {configuration.read_secret(target.token_file)}"
        except configuration.ConfigError as error:
            return Result("unknown", f"{error.where}: {error.what}")
    response = fetch(
        target.url,
        method=target.method,
        headers=headers,
        body=target.body.encode(),
        timeout_s=deadline.left_s(),
        allow_private=spec.networks,
        max_redirects=target.redirects,
        ca_file=target.ca_file,
    )
    facts: dict[str, Fact] = {"status": response.status, "body_bytes": len(response.body)}
    if response.tls_expires_us is not None:
        facts |= certificate.facts(response.tls_expires_us, now_us())
    if wrong := _wrong(target, response):
        return Result("down", wrong, response.took_ms, facts)
    if warning := _warning(target, response):
        return Result("degraded", warning, response.took_ms, facts)
    return Result("up", f"HTTP {response.status}", response.took_ms, facts)


def _wrong(target: HttpTarget, response: Response) -> str:
    """Say which condition does not hold, or nothing."""
    if not any(low <= response.status <= high for low, high in target.status):
        wanted = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in target.status)
        return f"HTTP {response.status}, expected {wanted}"
    if not (target.contains or target.matches or target.holds):
        return ""
    text = response.body.decode("utf-8", "replace")
    if target.contains and target.contains not in text:
        return f"the body does not contain `{_short(target.contains)}`{_cut(response)}"
    if target.matches is not None and not target.matches(text):
        return f"the body does not match `{_short(target.regex)}`{_cut(response)}"
    if target.holds is not None:
        found = document(text)
        if found is None:
            return f"the body is no JSON{_cut(response)}"
        if not target.holds(found):
            return f"the body does not fulfil `{_short(target.json)}`"
    return ""


def _warning(target: HttpTarget, response: Response) -> str:
    if response.tls_expires_us is not None:
        days = target.certificate_days
        if warning := certificate.ends_soon(response.tls_expires_us, days, now_us()):
            return warning
    if target.slow_ms and response.took_ms > target.slow_ms:
        return f"answered after {response.took_ms:.0f} ms, slower than {target.slow_ms:g} ms"
    return ""


def _cut(response: Response) -> str:
    return f" in its first {len(response.body)} bytes" if response.is_cut else ""


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


KIND = Kind("http", _read, look, needs_tls=True)
