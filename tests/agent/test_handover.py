"""The two threads hear each other: no order is missed, and none wakes anybody for nothing."""

from __future__ import annotations

import threading
import time

from outrider_agent.delivery import Acknowledged
from outrider_agent.handover import Handover
from outrider_agent.orders import Committed, Stop

LONG_S = 60.0
SHORT_S = 0.05
ACKNOWLEDGED = Acknowledged(1, 10, final=False)


def test_an_order_ends_the_wait() -> None:
    """The disk thread does not sleep on once it is told something."""
    handover = Handover(1 << 20)
    heard: list[object] = []
    thread = threading.Thread(target=lambda: heard.extend(handover.orders(LONG_S)))
    thread.start()
    stop = Stop()
    handover.tell(stop)
    thread.join(LONG_S / 2)

    assert heard == [stop]


def test_an_order_from_before_is_heard_at_once_and_ends_no_later_wait() -> None:
    """What was told during a turn needs no waiting, and the wait after it is a whole one."""
    handover = Handover(1 << 20)
    stop = Stop()
    handover.tell(stop)
    assert handover.orders(LONG_S) == [stop]
    began = time.monotonic()

    assert handover.orders(SHORT_S) == []
    assert time.monotonic() - began >= SHORT_S


def test_acknowledgements_wait_for_the_next_turn() -> None:
    """One comes for each batch: they wake nobody, and are heard with whatever comes next."""
    handover = Handover(1 << 20)
    heard: list[object] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        heard.extend(handover.orders(LONG_S))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(LONG_S)
    time.sleep(SHORT_S)  # it waits by now; if it does not, it hears all of it as well
    committed, final = Committed(1, b"nonce"), Acknowledged(1, 10, final=True)
    handover.tell(ACKNOWLEDGED, committed)
    thread.join(SHORT_S)
    was_asleep = thread.is_alive()
    handover.tell(final)
    thread.join(LONG_S / 2)

    assert was_asleep
    assert heard == [ACKNOWLEDGED, committed, final]


def test_room_wakes_the_disk_thread_where_the_window_was_full() -> None:
    """Whoever waits for room is told that there is some; it hears no order then."""
    handover = Handover(100)
    handover._held = 90
    heard: list[object] = [None]

    def wait() -> None:
        heard[:] = handover.orders(LONG_S)

    thread = threading.Thread(target=wait)
    thread.start()
    handover.release(80)
    thread.join(LONG_S / 2)

    assert not thread.is_alive()
    assert heard == []
