"""What to do about a mail server that refuses: the end of the line that people read. Pure."""

from __future__ import annotations

import socket
import ssl

from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPTimeoutError,
)

_ADDRESS = "check `smtp_host` and `smtp_port`"
_FOR_GOOD = 500


def advice(error: BaseException, *, security: str, has_login: bool) -> str:
    """Return what to change, or nothing where only waiting helps.

    ``security`` is the channel's ``tls``; ``has_login`` tells whether it has a ``username``.
    """
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            "`smtp_host` must be the name in the server's certificate, and this host must trust "
            "who signed it"
        )
    if isinstance(cause, ssl.SSLError):
        return f"the server speaks no TLS at this port: {_other_tls(security)}"
    if isinstance(cause, socket.gaierror):
        return "no such host: correct `smtp_host`"
    if isinstance(cause, ConnectionRefusedError):
        return f"nobody listens there: {_ADDRESS}, and that the server runs"
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        return f"{_ADDRESS}, and that a firewall lets this host through"
    if isinstance(error, SMTPResponseException):
        return _answered(error, security=security, has_login=has_login)
    if isinstance(error, SMTPException):
        return _lacking(str(error), security=security)
    return ""


def _answered(error: SMTPResponseException, *, security: str, has_login: bool) -> str:
    said = error.message.lower()
    if "starttls" in said and security == "none":
        return 'the server demands TLS: set `tls = "starttls"`'
    if isinstance(error, SMTPAuthenticationError) or error.code in {534, 535}:
        return (
            "check `username` and the secret in `password_file`; many providers want an app "
            "password"
        )
    if error.code == 530 or (not has_login and ("relay" in said or "authentication" in said)):
        return "the server serves only who logs in: set `username` and `password_file`"
    if error.code < _FOR_GOOD:
        return ""
    if isinstance(error, SMTPRecipientRefused):
        return "correct `to`, or ask the server's administrator"
    if isinstance(error, SMTPSenderRefused):
        return "set `from` to an address that this account may send as"
    return ""


def _lacking(said: str, *, security: str) -> str:
    if "STARTTLS" in said and security == "starttls":
        return f"nothing goes out in clear: {_other_tls(security)}"
    if "AUTH" in said:
        return (
            'the server offers no login here: use port 587 with `tls = "starttls"`, or remove '
            "`username` and `password_file`"
        )
    return ""


def _other_tls(security: str) -> str:
    if security == "tls":
        return 'set `tls = "starttls"`, usually with `smtp_port = 587`'
    return 'set `tls = "tls"`, usually with `smtp_port = 465`, or use another server'
