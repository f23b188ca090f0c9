"""The reading side of the store: all that pages and terminals show comes from here.

It only reads. Every function takes an open psycopg connection of the read role, runs one short
transaction on it (REPEATABLE READ, so that a page is one snapshot however many statements it
takes) and returns the frozen values of :mod:`~outrider_collector.store.reading.types`. Give each
concurrent call a connection of its own. What cannot be answered in time or within limits is a
:class:`outrider.errors.Fault`: QUERY_TIMEOUT, QUERY_TOO_LARGE, NOT_FOUND, STORE_DOWN.

``logs``
    - ``search(conn, filter, since, until, limit=100, *, after=None) -> Page``: newest first.
    - ``count(conn, filter, since, until) -> int``
    - ``cost.cost(conn, filter, since, until) -> Cost``: what a search would look through.
    - ``histogram(conn, filter, since, until, buckets=120) -> list[Bucket]``
    - ``facets(conn, filter, since, until, top=10) -> Facets``
    - ``export(conn, filter, since, until) -> AsyncIterator[list[LogRow]]``: newest first, in
      chunks, in constant memory, one snapshot.
    - ``context(conn, stream, offset, before=10, after=10) -> list[LogRow]``,
      ``record(conn, stream, offset) -> LogRow``: in ``around``.
    - ``tail(conn, after_feed_number, filter, limit=500) -> TailPage``
    - ``gaps(conn, filter, since, until, limit=100) -> list[Gap]``: gaps among the rows.
    - ``gap(conn, id) -> Gap``
``export``
    - ``csv_header() -> str``, ``csv_line(row) -> str``, ``json_line(row) -> str``: pure.
``completeness``
    - ``completeness(conn, filter, since, until, most_gaps=20) -> Completeness``
    - ``sentence(completeness, now) -> list[Part]``, ``text(parts) -> str``: pure.
``fleet``
    - ``workers(conn) -> list[Worker]``: worst first, stable within a state.
    - ``worker(conn, service, worker, host) -> WorkerDetail``
    - ``history(conn, kind, component, since, until) -> list[StateChange]``
    - ``agents(conn) -> list[Agent]``
    - ``overview(conn) -> Overview``
``activity``
    - ``ActivityWindow(minutes=60)``: kept by a process; ``await window.refresh(conn)`` reads only
      what is new; ``window.of(WorkerName) -> Activity``, ``window.of_service(service)``,
      ``window.total()``.
``alerts``
    - ``open_alerts(conn) -> list[Alert]``, ``recent(conn, since, limit=100) -> list[Alert]``
    - ``alert(conn, id) -> AlertDetail``
    - ``notices(conn, since, limit=100) -> list[Notification]``: the notification centre.
    - ``silences(conn, ended=False) -> list[Silence]``
    - ``transitions_after(conn, last) -> list[Told]``, ``newest_transition(conn) -> int``
    - ``undelivered(conn, channels) -> dict[str, int]``: of the last day, by channel.
``past``
    - ``records``, ``states``, ``losses``, ``fired``, ``rule_sets``: a range as rules saw it.
``audit``
    - ``rows(conn, asked, limit) -> ...``, ``seals(conn) -> SealState``; ``csv_line(row)``: pure.
``components``
    - ``components(conn) -> list[Component]``: what is looked at, by kind, name and host.
    - ``samples(conn, kind, since, until) -> list[Sample]``
``verdicts``
    - ``verdicts(components) -> list[Verdict]``: of several hosts' words one. Pure.
``causes``
    - ``causes(workers, agents, alerts, ...) -> list[Cause]``: what is wrong, each once. Pure.
``standstill``
    - ``standstills(collectors) -> list[Standstill]``: whether anything is committed. Pure.
``tally``
    - ``tally(conn) -> Tally``: counts over the whole store.
``quarantine``
    - ``newest(conn, limit)``, ``one(conn, kept)``: records that Postgres refused.
``health``
    - ``collectors(conn) -> list[Collector]``, ``store(conn) -> StoreHealth``
    - ``now(conn) -> datetime``: the database's clock, the only one that decides.
``uptime``
    - ``uptimes(conn, kinds=None, config=None) -> dict[(kind, component), Uptime]``: 90 days of
      bars, the share up, the budget left; ``watching(conn, config=None)``: how long any collector
      watched.
``availability``
    - ``HealthConfig``: table ``[health]``, the targets. ``share_up(days)``, ``budget_left(days,
      target)``, ``seen_from_all(places)``: pure.
``feed``
    - ``last(conn) -> int``, ``changes(conn, after, limit=1000) -> list[FeedRow]``

A filter is an :class:`outrider.filter.Filter`; ``since`` is inclusive, ``until`` exclusive, both
aware datetimes.
"""
