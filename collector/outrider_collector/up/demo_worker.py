"""Three workers that log like real ones, for `outrider up --demo`.

``orders`` fills orders and fails for some seconds soon after the start; ``prices`` follows an
exchange and is only ever slow; ``scraper`` prints plain text, runs under `outrider run`, and is
killed soon after the start. Both troubles come again ever more seldom: each is one alert that fires
and resolves within two minutes, and whoever tries a channel with the demo is told of it once, not
all night.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import outrider

_PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-EUR")
_PAGES = ("news/markets", "news/energy", "filings/10-k", "filings/8-k", "calendar")

ORDERS_OUTAGES_S = (8.0, 15 * 60.0)
"""Seconds after the start of ``orders`` at which its exchange fails for a while."""
ORDERS_OUTAGES_EVERY_S = 60 * 60.0
"""And after those, so often."""
ORDERS_OUTAGE_LASTS_S = 8.0
SCRAPER_DEATHS_S = (22.0, 10 * 60.0, 60 * 60.0)
"""Seconds after the start of the demo at which the scraper is killed."""
SCRAPER_DEATHS_EVERY_S = 6 * 60 * 60.0
"""And after those, so often."""


def orders(rng: random.Random) -> None:
    """Fill orders, with an outage of the exchange early on and seldom after that."""
    outrider.init(service="trading", worker="orders")
    log = outrider.get_logger("orders.runner")
    started = time.monotonic()
    done = 0
    while True:
        order_id = 88_000 + done
        with outrider.context(order_id=order_id):
            if is_outage(time.monotonic() - started):
                ms, attempt = rng.randint(1900, 2900), rng.randint(1, 5)
                log.error(
                    f"AddOrder answered 503 after {ms} ms, try {attempt} of 5",
                    error_code="EXCHANGE_UNAVAILABLE",
                    symbol=rng.choice(_PAIRS),
                )
                time.sleep(0.4)
                continue
            outrider.event("order.submitted", symbol=rng.choice(_PAIRS), type="limit")
            time.sleep(rng.uniform(0.05, 0.25))
            outrider.event(
                "order.filled",
                symbol=rng.choice(_PAIRS),
                side=rng.choice(("buy", "sell")),
                qty=round(rng.uniform(0.01, 2), 4),
                ms=rng.randint(12, 90),
            )
        done += 1
        outrider.progress(done=done)
        if done % 25 == 0:
            log.debug("book rebuilt", levels=rng.randint(400, 1200))


def prices(rng: random.Random) -> None:
    """Follow quotes; sometimes the book is old."""
    outrider.init(service="trading", worker="prices")
    log = outrider.get_logger("prices.feed")
    done = 0
    while True:
        symbol = rng.choice(_PAIRS)
        log.info("quotes placed", symbol=symbol, bids=4, asks=4, spread_bp=rng.uniform(2, 6))
        if rng.random() < 0.02:
            log.warning(
                "quote withheld: book is older than 1500 ms",
                symbol=symbol,
                book_age_ms=rng.randint(1500, 3200),
            )
        done += 1
        outrider.progress(done=done)
        time.sleep(rng.uniform(0.02, 0.12))


def is_outage(running_s: float) -> bool:
    """Whether the exchange of ``orders`` fails, so many seconds after that began."""
    soon = any(0 <= running_s - begin_s < ORDERS_OUTAGE_LASTS_S for begin_s in ORDERS_OUTAGES_S)
    into_s = running_s % ORDERS_OUTAGES_EVERY_S
    return soon or (running_s >= ORDERS_OUTAGES_EVERY_S and into_s < ORDERS_OUTAGE_LASTS_S)


def next_death_s(running_s: float) -> float:
    """Return the next of the scraper's deaths, both in seconds after the start of the demo."""
    soon = next((death for death in SCRAPER_DEATHS_S if death > running_s), None)
    if soon is not None:
        return soon
    return SCRAPER_DEATHS_EVERY_S * (running_s // SCRAPER_DEATHS_EVERY_S + 1)


def scraper(rng: random.Random, demo_started_s: float) -> None:
    """Print what an ordinary program prints, then be killed as by the kernel."""
    death_s = demo_started_s + next_death_s(time.time() - demo_started_s)
    page = 0
    while True:
        page += 1
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        millis = int(time.time() * 1000) % 1000
        level = "WARNING" if rng.random() < 0.05 else "INFO"
        print(  # noqa: T201  this worker's log is its standard output
            f"{stamp},{millis:03d} {level} scraper.fetch page {page} of {rng.choice(_PAGES)}: "
            f"{rng.randint(2, 90)} kB in {rng.randint(40, 900)} ms",
            flush=True,
        )
        time.sleep(rng.uniform(0.1, 0.5))
        if time.time() > death_s:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the worker named by the first argument until it is told to stop.

    The second is when the demo started, seconds since 1970.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    rng = random.Random(sys.argv[1])  # noqa: S311  a show, not a secret
    if sys.argv[1] == "scraper":
        scraper(rng, float(sys.argv[2]))
    else:
        {"orders": orders, "prices": prices}[sys.argv[1]](rng)


if __name__ == "__main__":
    main()
