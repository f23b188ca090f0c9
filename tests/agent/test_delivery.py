"""The protocol's agent side: whatever happens to the connection, each byte is delivered once."""

from __future__ import annotations

from outrider_agent.delivery import Acknowledged, Delivery, GoBack, Refused
from outrider_agent.streams import Place
from tests.agent.delivering import batch, stream


def started(*numbers: int, credit: int = 1000) -> Delivery:
    """A delivery whose streams are open."""
    delivery = Delivery()
    for number in numbers:
        delivery.born(stream(number))
    delivery.welcome({}, credit)
    delivery.next_open()
    for number in numbers:
        delivery.opened(number, Place(0, b""))
    delivery.take_notices()
    return delivery


def sendable(delivery: Delivery) -> list[tuple[int, int, int]]:
    """Everything that may be sent now: stream, begin, end."""
    sent = []
    while (one := delivery.next_batch()) is not None:
        sent.append(one.message)
    return sent


def test_nothing_is_sent_before_its_stream_is_open() -> None:
    """A batch waits until the collector has stored the stream that it belongs to."""
    delivery = Delivery()
    delivery.born(stream(1))
    delivery.offer(batch(1, 0, 5))
    delivery.welcome({}, 1000)

    assert [s.stream_id for s in delivery.next_open()] == [1]
    assert sendable(delivery) == []
    delivery.opened(1, Place(0, b""))
    assert sendable(delivery) == [(1, 0, 5)]


def test_an_urgent_batch_that_can_go_is_in_a_hurry() -> None:
    """It is said as long as it waits, behind others of its stream too; it goes first."""
    delivery = started(1, 2)
    delivery.offer(batch(1, 0, 10))
    assert not delivery.hurries()
    delivery.offer(batch(2, 0, 10))
    delivery.offer(batch(2, 10, 20, urgent=True))
    assert delivery.hurries()
    assert sendable(delivery)[0] == (2, 0, 10)
    assert not delivery.hurries()
    delivery.offer(batch(2, 20, 30, urgent=True))
    delivery.disconnected()
    assert not delivery.hurries()


def test_credit_bounds_what_is_unacknowledged() -> None:
    """No more bytes are on their way than the collector allows."""
    delivery = started(1, credit=25)
    for begin in range(0, 50, 10):
        delivery.offer(batch(1, begin, begin + 10))

    assert sendable(delivery) == [(1, 0, 10), (1, 10, 20)]
    delivery.acknowledged({1: 10}, 25)
    assert sendable(delivery) == [(1, 20, 30)]


def test_a_batch_larger_than_all_credit_goes_alone() -> None:
    """A small credit slows a stream down and never stops it; none at all does."""
    delivery = started(1, credit=5)
    delivery.offer(batch(1, 0, 10, size=100))
    delivery.offer(batch(1, 10, 20, size=100))

    assert sendable(delivery) == [(1, 0, 10)]
    delivery.acknowledged({1: 10}, 0)
    assert sendable(delivery) == []


def test_streams_take_turns() -> None:
    """One stream's backlog does not hold up the others."""
    delivery = started(1, 2)
    for begin in (0, 10, 20):
        delivery.offer(batch(1, begin, begin + 10))
    delivery.offer(batch(2, 0, 10))

    assert [message[0] for message in sendable(delivery)] == [1, 2, 1, 1]


def test_an_urgent_batch_overtakes_other_streams() -> None:
    """What somebody waits for leaves before the backlog of others."""
    delivery = started(1, 2)
    for begin in (0, 10, 20):
        delivery.offer(batch(1, begin, begin + 10))
    delivery.offer(batch(2, 0, 10, urgent=True))

    assert sendable(delivery)[0] == (2, 0, 10)


def test_after_a_reconnect_the_unacknowledged_is_sent_again() -> None:
    """Batches that Postgres has are released, the others go again as they are."""
    delivery = started(1)
    for begin in (0, 10, 20):
        delivery.offer(batch(1, begin, begin + 10))
    sendable(delivery)
    delivery.disconnected()
    delivery.welcome({1: Place(10, b"d")}, 1000)

    assert sendable(delivery) == [(1, 10, 20), (1, 20, 30)]
    assert delivery.take_released() == 10


def test_an_unknown_place_sends_the_reader_back() -> None:
    """Where no held batch begins, the file is read again and older batches are dropped."""
    delivery = started(1)
    delivery.offer(batch(1, 0, 10))
    sendable(delivery)
    delivery.rewind(1, Place(4, b"d"))
    notices = [n for n in delivery.take_notices() if isinstance(n, GoBack)]

    assert notices == [GoBack(1, 1, Place(4, b"d"))]
    delivery.offer(batch(1, 10, 20, generation=0))
    assert sendable(delivery) == []
    delivery.offer(batch(1, 4, 12, generation=1))
    assert sendable(delivery) == [(1, 4, 12)]


def test_a_lost_answer_to_a_final_batch_closes_the_stream() -> None:
    """Opened again, a closed stream is where its final batch ended, and that settles it."""
    delivery = started(1)
    delivery.offer(batch(1, 0, 1, final=True))
    sendable(delivery)
    delivery.disconnected()
    delivery.welcome({}, 1000)

    assert [s.stream_id for s in delivery.next_open()] == [1]
    assert delivery.take_notices() == []
    delivery.opened(1, Place(1, b"d"))
    assert delivery.take_notices() == [Acknowledged(1, 1, final=True)]
    assert sendable(delivery) == []
    assert (delivery.unacknowledged, delivery.take_released()) == (0, 10)


def test_a_stream_that_ended_before_it_was_ever_opened_is_delivered() -> None:
    """A final batch says nothing of what the collector has: the stream is opened and sent."""
    delivery = Delivery()
    delivery.born(stream(1))
    delivery.offer(batch(1, 0, 10))
    delivery.offer(batch(1, 10, 11, final=True))
    delivery.welcome({}, 1000)

    assert [s.stream_id for s in delivery.next_open()] == [1]
    delivery.opened(1, Place(0, b""))
    assert sendable(delivery) == [(1, 0, 10), (1, 10, 11)]
    delivery.acknowledged({1: 11}, 1000)
    assert delivery.take_notices()[-1] == Acknowledged(1, 11, final=True)
    assert delivery.unacknowledged == 0


def test_a_watermark_never_overtakes_its_stream() -> None:
    """A watermark speaks of all before it, so it is dropped while batches wait."""
    delivery = started(1, credit=10)
    delivery.offer(batch(1, 0, 10))
    delivery.offer(batch(1, 10, 20))
    sendable(delivery)
    delivery.offer(batch(1, 20, 20, size=0))
    assert sendable(delivery) == []

    delivery.acknowledged({1: 10}, 100)
    sendable(delivery)
    delivery.offer(batch(1, 20, 20, size=0))
    assert sendable(delivery) == [(1, 20, 20)]


def test_a_refused_stream_is_given_up() -> None:
    """The disk thread hears of a refusal, and nothing of the stream is held any more."""
    delivery = started(1)
    delivery.offer(batch(1, 0, 10))
    delivery.refused(1, "STREAM_REFUSED", "no")

    assert Refused(1, "STREAM_REFUSED", "no") in delivery.take_notices()
    assert (delivery.unacknowledged, delivery.take_released()) == (0, 10)


def test_only_what_is_vital_is_sent_while_the_store_is_nearly_full() -> None:
    """What lies before a vital batch goes with it; what lies after it, and other streams, wait."""
    delivery = started(1, 2)
    delivery.offer(batch(1, 0, 10))
    delivery.offer(batch(1, 10, 20, vital=True))
    delivery.offer(batch(1, 20, 30))
    delivery.offer(batch(2, 0, 10))
    delivery.credit(0)
    delivery.keep_all_but_vital(100)

    assert sendable(delivery) == [(1, 0, 10), (1, 10, 20)]
    assert delivery.take_released() == 20
    delivery.offer(batch(1, 30, 40))
    assert sendable(delivery) == []
    assert delivery.take_notices() == []


def test_what_was_passed_over_is_read_again_for_what_is_vital() -> None:
    """The reader goes back to where passing over began; from there all goes, up to the vital."""
    delivery = started(1)
    delivery.keep_all_but_vital(100)
    delivery.offer(batch(1, 0, 10))
    delivery.offer(batch(1, 10, 20))
    delivery.offer(batch(1, 20, 30, vital=True))

    assert delivery.take_notices() == [GoBack(1, 1, Place(0, b""))]
    for begin in (0, 10):
        delivery.offer(batch(1, begin, begin + 10, generation=1))
    delivery.offer(batch(1, 20, 30, generation=1, vital=True))
    delivery.offer(batch(1, 30, 40, generation=1))
    assert sendable(delivery) == [(1, 0, 10), (1, 10, 20), (1, 20, 30)]


def test_when_the_store_has_room_again_all_that_was_passed_over_is_read_again() -> None:
    """Nothing is acknowledged to the reader that the collector did not acknowledge."""
    delivery = started(1, 2)
    delivery.offer(batch(1, 0, 10, vital=True))
    delivery.keep_all_but_vital(100)
    assert sendable(delivery) == [(1, 0, 10)]
    for number, begin in ((1, 10), (1, 20), (2, 0)):
        delivery.offer(batch(number, begin, begin + 10))
    delivery.keep_all_but_vital(0)

    assert delivery.take_notices() == [
        GoBack(1, 1, Place(10, b"d")), Acknowledged(1, 0, final=False), GoBack(2, 1, Place(0, b"")),
    ]  # fmt: skip


def test_no_watermark_speaks_for_what_was_passed_over() -> None:
    """It would say that all before it was sent; nor does one after a reconnect."""
    delivery = started(1)
    delivery.keep_all_but_vital(100)
    delivery.offer(batch(1, 0, 10))
    delivery.offer(batch(1, 10, 10))
    assert sendable(delivery) == []
    delivery.welcome({1: Place(0, b"")}, 0)
    delivery.offer(batch(1, 10, 10))
    assert sendable(delivery) == []
    assert delivery.take_notices() == []
