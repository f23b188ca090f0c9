"""From a channel of the rule set to one that can send: secrets read, limits chosen.

Secrets are files on the collector's host and never part of the rule set. They are read when a
channel is built, so that a token put in place later works without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.addresses import is_loopback
from outrider_alerting import rules
from outrider_alerting.channels.channel import Channel, ChannelError
from outrider_alerting.channels.email import EmailChannel, EmailSettings
from outrider_alerting.channels.limiter import (
    EMAIL,
    TELEGRAM_CHAT,
    TELEGRAM_GROUP,
    WEBHOOK,
    Limits,
)
from outrider_alerting.channels.telegram import (
    DEFAULT_BASE_URL,
    TelegramChannel,
    TelegramSettings,
)
from outrider_alerting.channels.webhook import WebhookChannel, WebhookSettings

if TYPE_CHECKING:
    from pathlib import Path

_SECRET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Outlet:
    """A channel with what the limiter has to know of it."""

    channel: Channel
    # The account that messages leave under; no secret.
    sender: str
    limits: Limits


def limits_of(config: rules.Channel) -> Limits:
    """How often messages may leave through a channel."""
    if isinstance(config, rules.EmailChannel):
        return EMAIL
    if isinstance(config, rules.WebhookChannel):
        return WEBHOOK
    # Groups and channels have negative ids.
    return TELEGRAM_GROUP if config.chat_id < 0 else TELEGRAM_CHAT


def build(config: rules.Channel, secrets_dir: Path) -> Outlet:
    """Make the channel; relative secret files are in ``secrets_dir``. Raises ChannelError."""
    if isinstance(config, rules.EmailChannel):
        return _email(config, secrets_dir)
    if isinstance(config, rules.WebhookChannel):
        return _webhook(config, secrets_dir)
    return _telegram(config, secrets_dir)


def telegram_settings(config: rules.TelegramChannel, secrets_dir: Path) -> TelegramSettings:
    """Read the bot's token. Raises ChannelError."""
    token = _secret(config.name, "bot_token_file", config.bot_token_file, secrets_dir)
    number, _, rest = token.partition(":")
    if not (number.isdecimal() and rest):
        raise ChannelError(
            f"channel {config.name}: {config.bot_token_file} holds no bot token: "
            "write the one line that BotFather gave, like 123456:ABC..."
        )
    return TelegramSettings(
        name=config.name,
        token=token,
        chat_id=config.chat_id,
        base_url=config.base_url or DEFAULT_BASE_URL,
        thread_id=config.topic,
        users={number: name for name, number in config.users.items()},
        dashboard_url=config.dashboard_url,
    )


def _telegram(config: rules.TelegramChannel, secrets_dir: Path) -> Outlet:
    settings = telegram_settings(config, secrets_dir)
    return Outlet(TelegramChannel(settings), settings.account, limits_of(config))


def _email(config: rules.EmailChannel, secrets_dir: Path) -> Outlet:
    if config.tls == "none" and not is_loopback(config.smtp_host):
        raise ChannelError(
            f'channel {config.name}: tls = "none" would send mail in clear to '
            f'{config.smtp_host}: use "starttls" or "tls"'
        )
    password = None
    if config.password_file is not None:
        password = _secret(config.name, "password_file", config.password_file, secrets_dir)
    settings = EmailSettings(
        name=config.name,
        host=config.smtp_host,
        port=config.smtp_port,
        sender=config.from_,
        recipients=config.to,
        security=config.tls,
        username=config.username,
        password=password,
        dashboard_url=config.dashboard_url,
    )
    return Outlet(EmailChannel(settings), settings.account, limits_of(config))


def _webhook(config: rules.WebhookChannel, secrets_dir: Path) -> Outlet:
    secret = None
    if config.secret_file is not None:
        secret = _secret(config.name, "secret_file", config.secret_file, secrets_dir)
    settings = WebhookSettings(
        name=config.name,
        url=config.url,
        secret=secret,
        format=config.format,
        allow_private=config.allow_private,
        dashboard_url=config.dashboard_url,
    )
    return Outlet(WebhookChannel(settings), settings.account, limits_of(config))


def _secret(channel: str, key: str, name: str, secrets_dir: Path) -> str:
    path = secrets_dir / name
    try:
        with path.open(encoding="utf-8") as file:
            secret = file.read(_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ChannelError(
            f"channel {channel}: cannot read {key} {path}: {why}: "
            "put the secret there, readable for the collector"
        ) from error
    if not secret:
        raise ChannelError(f"channel {channel}: {key} {path} is empty: put the secret there")
    return secret
