"""Delivery by a model: whatever happens to connections and database, no hole and no overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from outrider_agent.delivery import Batch, Delivery, GoBack
from outrider_agent.streams import Place
from tests.agent.delivering import batch, stream


@dataclass
class Reader:
    """The disk thread: reads a stream of endless bytes and obeys."""

    position: int = 0
    generation: int = 0
    held: int = 0
    size: int = 0
    """All that was ever read."""
    vital: set[int] = field(default_factory=set)
    """Bytes that belong to vital records."""

    def read(self, number: int, length: int) -> Batch:
        """Read on."""
        begin, end = self.position, self.position + length
        self.position, self.size = end, max(self.size, end)
        vital = any(begin <= byte < end for byte in self.vital)
        return batch(number, begin, end, self.generation, length, vital=vital)


@dataclass
class Database:
    """What the collector's database has of a stream; only the right next batch is taken."""

    committed: int = 0
    covered: list[tuple[int, int]] = field(default_factory=list)

    def claim(self, begin: int, end: int) -> bool:
        if begin != self.committed:
            return False
        self.covered.append((begin, end))
        self.committed = end
        return True


class DeliveryModel(RuleBasedStateMachine):
    """Random connections, losses and rewinds against a database that only compares and sets."""

    def __init__(self) -> None:
        super().__init__()
        self.delivery = Delivery()
        self.readers = {1: Reader(), 2: Reader()}
        self.database = {1: Database(), 2: Database()}
        self.known: set[int] = set()
        self.connected = False
        self.on_the_way: list[Batch] = []
        self.answers: list[tuple[str, int, int]] = []
        self.rewinding: dict[int, int] = {}
        for number in self.readers:
            self.delivery.born(stream(number))

    @rule(number=st.sampled_from([1, 2]), length=st.integers(1, 20), vital=st.booleans())
    def read(self, number: int, length: int, vital: bool) -> None:
        reader = self.readers[number]
        if vital and reader.position == reader.size:
            reader.vital.add(reader.position)
        self.delivery.offer(reader.read(number, length))
        reader.held += length
        self.obey()

    @rule(credit=st.sampled_from([0, 10, 60]))
    def fill_up(self, credit: int) -> None:
        self.delivery.keep_all_but_vital(credit)
        self.obey()

    @rule(number=st.sampled_from([1, 2]))
    def watermark(self, number: int) -> None:
        reader = self.readers[number]
        self.delivery.offer(batch(number, reader.position, reader.position, reader.generation, 0))

    @rule(credit=st.integers(0, 60), forget=st.booleans())
    def connect(self, credit: int, forget: bool) -> None:
        self.connected, self.on_the_way, self.answers, self.rewinding = True, [], [], {}
        if forget:
            # The database is restored to an earlier state.
            for database in self.database.values():
                if database.covered:
                    database.committed = database.covered.pop()[0]
        places = {n: Place(self.database[n].committed, b"d") for n in self.known}
        self.delivery.welcome(places, credit)
        self.obey()

    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.delivery.disconnected()

    @rule()
    def open(self) -> None:
        if self.connected:
            for one in self.delivery.next_open():
                self.known.add(one.stream_id)
                place = Place(self.database[one.stream_id].committed, b"")
                self.delivery.opened(one.stream_id, place)
            self.obey()

    @rule()
    def send(self) -> None:
        if self.connected and (one := self.delivery.next_batch()) is not None:
            self.on_the_way.append(one)

    @rule()
    def commit(self) -> None:
        if not self.connected or not self.on_the_way:
            return
        one = self.on_the_way.pop(0)
        number = one.stream_id
        if self.rewinding.get(number, one.begin) != one.begin:
            return
        self.rewinding.pop(number, None)
        database = self.database[number]
        if not one.held:
            return
        if database.claim(one.begin, one.end) or one.end <= database.committed:
            self.answers.append(("ack", number, database.committed))
        else:
            self.rewinding[number] = database.committed
            self.answers.append(("rewind", number, database.committed))

    @rule(credit=st.integers(0, 60))
    def hear(self, credit: int) -> None:
        if not self.connected or not self.answers:
            return
        kind, number, committed = self.answers.pop(0)
        if kind == "ack":
            self.delivery.acknowledged({number: committed}, credit)
        else:
            self.delivery.rewind(number, Place(committed, b"d"))
        self.obey()

    def obey(self) -> None:
        for notice in self.delivery.take_notices():
            if isinstance(notice, GoBack):
                reader = self.readers[notice.stream_id]
                reader.position = notice.place.committed
                reader.generation = notice.generation

    def calm(self) -> None:
        """Read all there is, deliver what may be, and nothing goes wrong."""
        self.connect(10_000, forget=False)
        for _ in range(400):
            for number, reader in self.readers.items():
                if reader.position < reader.size:
                    self.read(number, min(7, reader.size - reader.position), vital=False)
            self.open()
            self.send()
            self.commit()
            self.hear(10_000)

    @invariant()
    def what_is_stored_has_no_hole_and_no_overlap(self) -> None:
        for database in self.database.values():
            end = 0
            for begin, until in database.covered:
                assert begin == end
                end = until
            assert end == database.committed

    @invariant()
    def in_flight_is_never_negative(self) -> None:
        assert self.delivery.in_flight_bytes >= 0

    def teardown(self) -> None:
        """However it began, a calm connection delivers what is vital, then all that was read."""
        self.fill_up(100)
        self.calm()
        for number, reader in self.readers.items():
            if number in self.known and reader.vital:
                assert self.database[number].committed > max(reader.vital)
        self.fill_up(0)
        self.calm()
        for number, reader in self.readers.items():
            if number in self.known:
                assert self.database[number].committed == reader.size
        assert self.delivery.unacknowledged == 0
        assert self.delivery.in_flight_bytes == 0


TestDeliveryModel = DeliveryModel.TestCase


TestDeliveryModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
