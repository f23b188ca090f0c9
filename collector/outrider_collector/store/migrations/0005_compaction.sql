-- The second level of blocks. The compactor moves fresh blocks here: records of one service, class
-- and hour of event time, sorted by time, about 4,000 a block, with what a search needs to pass a
-- block over. See the README of collector/outrider_collector/store.
--
-- `blocks` is both levels as one; every reader goes through it.

create table blocks_compacted (
    -- Day (UTC) of the event time, brought within 7 days before arrival: so a day is complete, and
    -- can go, a known time after it is over. Never before the day of any event time in the block.
    day timestamptz not null,
    -- 0 debug, 1 app, 2 ops, 3 security, 4 audit: how long it is kept.
    class smallint not null,
    team integer not null,
    service text not null,
    replayed boolean not null,
    n integer not null,
    ts_min timestamptz not null,
    ts_max timestamptz not null,
    received_min timestamptz not null,
    received_max timestamptz not null,
    level_counts integer[] not null,
    -- Roll-up: six counts by level for each minute from that of ts_min on.
    minute_counts smallint[] not null,
    stream_ids bigint[] not null,
    events text[],
    error_codes text[],
    -- Filter over the tokens of all records; its size is a power of two.
    bloom bytea not null,
    ts timestamptz[] not null,
    observed_at timestamptz[] not null,
    received_at timestamptz[] not null,
    stream bigint[] not null,
    stream_offset bigint[] not null,
    severity smallint[] not null,
    message text[],
    logger text[],
    event text[],
    error_code text[],
    trace_id uuid[],
    correlation_id text[],
    attributes text[]
) partition by range (day, class);
create index blocks_compacted_service on blocks_compacted (service, ts_max);
create index blocks_compacted_end on blocks_compacted (ts_max);
create index blocks_compacted_begin on blocks_compacted (ts_min);
create index blocks_compacted_arrival on blocks_compacted (received_max);

-- Both levels. `partition`, `block`, `received_min` and `day` are a block's place, good within one
-- snapshot; a fresh block's day is the last there is. `received_at` is null where all records of the block arrived at `received_min`.
create view blocks with (security_invoker = true) as
    select f.tableoid as partition, f.ctid as block, '9999-12-31 00:00:00+00'::timestamptz as day,
           null::smallint as class, f.commit_id, f.team, f.service, f.replayed, f.n,
           f.ts_min, f.ts_max, f.received_at as received_min, f.received_at as received_max,
           f.level_counts, null::smallint[] as minute_counts, f.stream_ids, f.events,
           f.error_codes, null::bytea as bloom, f.ts, f.observed_at,
           null::timestamptz[] as received_at, f.stream, f.stream_offset, f.severity, f.message,
           f.logger, f.event, f.error_code, f.trace_id, f.correlation_id, f.attributes
    from blocks_fresh f
    union all
    select c.tableoid, c.ctid, c.day, c.class, null::bigint, c.team, c.service, c.replayed, c.n,
           c.ts_min, c.ts_max, c.received_min, c.received_max, c.level_counts, c.minute_counts,
           c.stream_ids, c.events, c.error_codes, c.bloom, c.ts, c.observed_at, c.received_at,
           c.stream, c.stream_offset, c.severity, c.message, c.logger, c.event, c.error_code,
           c.trace_id, c.correlation_id, c.attributes
    from blocks_compacted c;

create or replace view logs with (security_invoker = true) as
    select u.ts, u.observed_at, coalesce(u.received_at, b.received_min) as received_at, u.severity,
           level_name(u.severity) as level, b.service, i.worker, i.host, i.source, u.logger,
           u.event, u.message, u.error_code, u.trace_id, u.correlation_id,
           attributes_json(u.attributes) as attributes, u.stream, u.stream_offset, b.team
    from blocks b
    cross join lateral unnest(b.ts, b.observed_at, b.received_at, b.stream, b.stream_offset,
                              b.severity, b.message, b.logger, b.event, b.error_code, b.trace_id,
                              b.correlation_id, b.attributes)
        as u(ts, observed_at, received_at, stream, stream_offset, severity, message, logger, event,
             error_code, trace_id, correlation_id, attributes)
    join stream_info i on i.id = u.stream;

-- Pruned by arrival on the fresh level, as before; on the other by day, which is never before that
-- of an event time; on both by the blocks' own range. Inlined by the planner: no SET, no STRICT, no
-- SECURITY DEFINER here.
create or replace function logs_between(from_ts timestamptz, to_ts timestamptz) returns setof logs
    language sql stable
begin atomic
    select u.ts, u.observed_at, coalesce(u.received_at, b.received_min) as received_at, u.severity,
           level_name(u.severity) as level, b.service, i.worker, i.host, i.source, u.logger,
           u.event, u.message, u.error_code, u.trace_id, u.correlation_id,
           attributes_json(u.attributes) as attributes, u.stream, u.stream_offset, b.team
    from blocks b
    cross join lateral unnest(b.ts, b.observed_at, b.received_at, b.stream, b.stream_offset,
                              b.severity, b.message, b.logger, b.event, b.error_code, b.trace_id,
                              b.correlation_id, b.attributes)
        as u(ts, observed_at, received_at, stream, stream_offset, severity, message, logger, event,
             error_code, trace_id, correlation_id, attributes)
    join stream_info i on i.id = u.stream
    where b.ts_max >= from_ts and b.ts_min < to_ts
      and b.received_max >= from_ts - interval '1 hour'
      and b.day > from_ts - interval '1 day'
      and u.ts >= from_ts and u.ts < to_ts;
end;
