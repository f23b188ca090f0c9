-- Whoever sees some teams reads no configuration of the others: files of rules have addresses and
-- secrets of channels, and what a collector says of itself names them. Policies on the tables come
-- from store/roles.py. These two views lend the owner's eyes, for what everybody may know.

-- The active rules: no file, no channel, no version of before.
create or replace view alert_rules with (security_barrier = true) as
    select r.name, r.kind, r.version, r.definition, s.applied_at, s.applied_by,
           s.frozen -> r.name ->> 'why' as frozen
    from active_rule_set a join rule_versions r using (version) join rule_sets s using (version);

-- Whether something is committed and evaluated; all that a collector says of itself, channels and
-- services too, for those who see every team.
create view collector_states with (security_barrier = true) as
    select c.name, c.started_at, c.seen_at, c.stopped_at,
           case when (select sees_every_team() or works_for_every_team(current_user)) then c.status
                else (select coalesce(jsonb_object_agg(t.key, t.value), '{}')
                      from jsonb_each(c.status) t
                      where t.key in ('failing_for_s', 'failing_reason', 'records_per_s',
                                      'evaluator', 'version', 'disk_level'))
           end as status
    from collectors c;
