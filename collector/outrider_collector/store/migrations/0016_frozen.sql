-- A rule that costs too much is frozen by a set of rules with the same files that names it here, so
-- that freezing is what any change of rules is: seen by every collector before its next commit, a
-- row of the feed, an input of a replay. The next set that is applied thaws it.

alter table rule_sets
    -- Name of a rule to {"why": what it cost, "since_us": microseconds since 2000}.
    add column frozen jsonb not null default '{}';

create or replace view alert_rules with (security_invoker = true) as
    select r.name, r.kind, r.version, r.definition, s.applied_at, s.applied_by,
           s.frozen -> r.name ->> 'why' as frozen
    from active_rule_set a join rule_versions r using (version) join rule_sets s using (version);

-- Hits of rules that can be critical are evaluated ahead of the others where many wait: how far.
alter table evaluator_state add column urgent_to bigint not null default 0;
