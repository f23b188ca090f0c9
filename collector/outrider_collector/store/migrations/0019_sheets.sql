-- Sheets: the filters of some hundred compacted blocks, turned round, so that a search asks all of
-- them by a few short reads. See compaction/sheets.py. A block's own filter stays the truth.

-- Tables that have left their parent, or are about to, may come back: they get the column too.
do $$
declare
    found record;
begin
    for found in
        select i.inhrelid::regclass as one from pg_inherits i
        where i.inhparent = 'blocks_compacted'::regclass and i.inhdetachpending
    loop
        execute format('alter table blocks_compacted detach partition %s finalize', found.one);
    end loop;
    for found in
        select c.oid::regclass as one from pg_class c
        where c.relkind = 'r' and not c.relispartition
            and c.relnamespace = (select relnamespace from pg_class
                                  where oid = 'blocks_compacted'::regclass)
            and starts_with(c.relname::text, 'blocks_compacted_')
    loop
        execute format('alter table %s add column id uuid', found.one);
        execute format('alter table %s alter column id set default gen_random_uuid()', found.one);
    end loop;
end $$;

-- Which block it is: a place (ctid) is another one after a dump, and a sequence begins anew where it
-- was not copied. Null: it was there before, and is in no sheet. The default comes afterwards, so
-- that no table is rewritten.
alter table blocks_compacted add column id uuid;
alter table blocks_compacted alter column id set default gen_random_uuid();

create table block_sheets (
    id uuid primary key default gen_random_uuid(),
    -- The table of its blocks, and their team.
    day timestamptz not null,
    class smallint not null,
    team integer not null,
    -- No block of it holds an event time outside of this.
    ts_min timestamptz not null,
    ts_max timestamptz not null,
    -- Of each filter.
    filter_bytes integer not null,
    -- Of each slice: one bit a block.
    slice_bytes integer not null,
    -- Its blocks, in the order of the bits. Those that are gone match nothing.
    ids uuid[] not null,
    slices bytea not null
);
alter table block_sheets
    -- A slice is fetched alone.
    alter column slices set storage external,
    alter column ids set storage external,
    alter column slices set statistics 0,
    alter column ids set statistics 0;

create or replace view blocks with (security_invoker = true) as
    select f.tableoid as partition, f.ctid as block, '9999-12-31 00:00:00+00'::timestamptz as day,
           null::smallint as class, f.commit_id, f.team, f.service, f.replayed, f.n,
           f.ts_min, f.ts_max, f.received_at as received_min, f.received_at as received_max,
           f.level_counts, null::smallint[] as minute_counts, f.stream_ids, f.events,
           f.error_codes, null::bytea as bloom, f.ts, f.observed_at,
           null::timestamptz[] as received_at, f.stream, f.stream_offset, f.severity, f.message,
           f.logger, f.event, f.error_code, f.trace_id, f.correlation_id, f.attributes,
           null::uuid as id
    from blocks_fresh f
    union all
    select c.tableoid, c.ctid, c.day, c.class, null::bigint, c.team, c.service, c.replayed, c.n,
           c.ts_min, c.ts_max, c.received_min, c.received_max, c.level_counts, c.minute_counts,
           c.stream_ids, c.events, c.error_codes, c.bloom, c.ts, c.observed_at, c.received_at,
           c.stream, c.stream_offset, c.severity, c.message, c.logger, c.event, c.error_code,
           c.trace_id, c.correlation_id, c.attributes, c.id
    from blocks_compacted c;
