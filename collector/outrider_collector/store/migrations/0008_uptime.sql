-- Uptime: for each component and day (UTC) how long it was up, degraded, down and in maintenance.
-- The housekeeper stores the days that are over; the days since are computed when they are read, by
-- the same function. Whoever has psql reads `system_health_days`.

-- What an agent reports is asked for whenever it comes, and when its stream breaks.
create index system_health_agent on system_health (agent);

-- When some collector watched for long enough to have noticed silence. Outside of these spans
-- nothing is counted for or against anybody: it is unmeasured.
create table health_watches (
    began_at timestamptz primary key,
    ended_at timestamptz not null
) with (fillfactor = 50);

-- Days that are over. What is missing of 24 h was not measured; a component without a row was not
-- measured at all that day. The day leads the key: pages read the last 90 of everybody.
create table health_days (
    day date not null,
    component_kind text not null,
    component text not null,
    team integer not null,
    up_ms integer not null,
    degraded_ms integer not null,
    down_ms integer not null,
    maintenance_ms integer not null,
    primary key (day, component_kind, component)
);

-- The days before this one are in `health_days`.
create table health_rolled (
    singleton boolean primary key default true check (singleton),
    before date not null
);
insert into health_rolled (before) values ((now() at time zone 'UTC')::date);

-- What a state counts as; null: as not measured (unknown, retired, not there yet).
create function health_counts_as(state text) returns text language sql immutable parallel safe
    return case
        when state = 'up' then 'up'
        when state in ('degraded', 'lagging') then 'degraded'
        when state in ('down', 'expired', 'silent', 'dead') then 'down'
        when state = 'maintenance' then 'maintenance' end;

-- The watched parts of each day from `low` to `high`. A span that ended a moment ago goes on: it is
-- lengthened every few seconds. Two collectors that begin at once may begin two: they count once.
create function health_watched_between(low timestamptz, high timestamptz)
    returns table (day date, began_at timestamptz, ended_at timestamptz)
    language sql stable
begin atomic
    with watched as (
        select unnest(range_agg(tstzrange(w.began_at,
            case when w.ended_at > now() - interval '20 seconds' then 'infinity'
                 else w.ended_at end))) as span
        from health_watches w
    ), days as (
        select n.day, n.day::timestamp at time zone 'UTC' as began_at
        from (
            select (low at time zone 'UTC')::date + n as day
            from generate_series(
                0, (high at time zone 'UTC')::date - (low at time zone 'UTC')::date) as n
        ) n
    )
    select d.day, lower(p.part), upper(p.part)
    from days d
    cross join watched w
    cross join lateral (
        select w.span * tstzrange(low, high)
               * tstzrange(d.began_at, d.began_at + interval '24 hours') as part
    ) p
    where not isempty(p.part);
end;

-- How long each component was what, for each day from `low` to `high`, which is not after now.
-- A component was before its first change what it changed from, and who did not change since `low`
-- was always what it is: so no history from before `low` is needed.
create function health_days_between(low timestamptz, high timestamptz)
    returns table (day date, component_kind text, component text, team integer, up_ms integer,
                   degraded_ms integer, down_ms integer, maintenance_ms integer)
    language sql stable
begin atomic
    with changes as materialized (
        select h.component_kind, h.component, h.team, h.from_state, h.to_state, h.at,
               lead(h.at, 1, 'infinity') over component as next_at,
               row_number() over component = 1 as is_first
        from system_health_history h
        where h.at >= low
        window component as (partition by h.component_kind, h.component order by h.at, h.id)
    ), spans as (
        select c.component_kind, c.component, c.team, health_counts_as(c.to_state) as counts_as,
               c.at as began_at, c.next_at as ended_at
        from changes c
        union all
        select c.component_kind, c.component, c.team, health_counts_as(c.from_state),
               '-infinity', c.at
        from changes c where c.is_first
        union all
        select s.component_kind, s.component, s.team, health_counts_as(s.state),
               '-infinity', 'infinity'
        from system_health s
        where not exists (
            select from changes c
            where c.component_kind = s.component_kind and c.component = s.component)
    ), parts as (
        select m.day, s.component_kind, s.component, s.team, s.counts_as,
               extract(epoch from least(s.ended_at, m.ended_at)
                                  - greatest(s.began_at, m.began_at)) * 1000 as ms
        from spans s
        join health_watched_between(low, high) m
             on s.began_at < m.ended_at and s.ended_at > m.began_at
        where s.counts_as is not null
    )
    -- Cut off, not rounded: the parts of a day are never more than the day.
    select p.day, p.component_kind, p.component, max(p.team),
           trunc(coalesce(sum(p.ms) filter (where p.counts_as = 'up'), 0))::integer,
           trunc(coalesce(sum(p.ms) filter (where p.counts_as = 'degraded'), 0))::integer,
           trunc(coalesce(sum(p.ms) filter (where p.counts_as = 'down'), 0))::integer,
           trunc(coalesce(sum(p.ms) filter (where p.counts_as = 'maintenance'), 0))::integer
    from parts p
    group by p.day, p.component_kind, p.component;
end;

-- `up_share` is the share of the measured time outside of maintenance; null: not measured.
create view system_health_days with (security_invoker = true) as
    select d.component_kind, d.component, d.team, d.day,
           d.up_ms / 1000.0 as up_s, d.degraded_ms / 1000.0 as degraded_s,
           d.down_ms / 1000.0 as down_s, d.maintenance_ms / 1000.0 as maintenance_s,
           d.elapsed_s - (d.up_ms + d.degraded_ms + d.down_ms + d.maintenance_ms) / 1000.0
               as unmeasured_s,
           d.up_ms::double precision / nullif(d.up_ms + d.degraded_ms + d.down_ms, 0) as up_share
    from (
        select s.*, 86400.0 as elapsed_s from health_days s
        union all
        select n.*, least(86400.0, extract(epoch from now() - n.day::timestamp at time zone 'UTC'))
        from health_rolled r
        cross join lateral health_days_between(r.before::timestamp at time zone 'UTC', now()) n
    ) d;
