-- No plan depends on what is inside the arrays of records. ANALYZE, which the server itself does
-- once a minute where blocks arrive, decompressed all of them and counted their elements. Tables that
-- are there get it by their parents; those that are made later, by store/partitions.py and days.py.
alter table blocks_fresh
    alter column ts set statistics 0,
    alter column observed_at set statistics 0,
    alter column stream set statistics 0,
    alter column stream_offset set statistics 0,
    alter column severity set statistics 0,
    alter column message set statistics 0,
    alter column logger set statistics 0,
    alter column event set statistics 0,
    alter column error_code set statistics 0,
    alter column trace_id set statistics 0,
    alter column correlation_id set statistics 0,
    alter column attributes set statistics 0;
alter table blocks_compacted
    alter column ts set statistics 0,
    alter column observed_at set statistics 0,
    alter column stream set statistics 0,
    alter column stream_offset set statistics 0,
    alter column severity set statistics 0,
    alter column message set statistics 0,
    alter column logger set statistics 0,
    alter column event set statistics 0,
    alter column error_code set statistics 0,
    alter column trace_id set statistics 0,
    alter column correlation_id set statistics 0,
    alter column attributes set statistics 0,
    alter column received_at set statistics 0,
    alter column minute_counts set statistics 0,
    alter column bloom set statistics 0;

-- What policies ask is read from the catalogue and settings, which parallel workers have too. Without
-- the word for it no query of a bound role runs in parallel.
alter function works_for_every_team(name) parallel safe;
alter function visible_teams() parallel safe;
alter function sees_every_team() parallel safe;
