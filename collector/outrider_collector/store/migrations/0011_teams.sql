-- Who sees which team. A login is bound by what it is, not by a variable that it could set: rows
-- of `team_roles` say which teams a role may see, and the setting `outrider.teams` can only choose
-- among them. Functions bind what they name when they are made, whatever a session's search_path.
-- Policies stand on every table with a team, and on every partition: see store/roles.py.

create table team_roles (
    -- A login, or a group that logins are members of.
    role text not null,
    -- Null: every team, of which a session must choose by `outrider.teams`, as the dashboard does.
    team integer references teams,
    unique nulls not distinct (role, team)
);

-- True for whom no team binds: the owner, and members of the ingest and admin roles.
create function works_for_every_team(login name) returns boolean
    language sql stable
begin atomic
    select pg_has_role(login, (select relowner from pg_class where oid = 'teams'::regclass), 'member')
        or exists (select from pg_roles r
                   where r.rolname in ('outrider_ingest', 'outrider_admin')
                       and pg_has_role(login, r.oid, 'member'));
end;

-- The teams this session sees through policies: those of its login's roles, narrowed by the setting
-- (team ids, or * for all of them). Without the setting only teams that a role names.
create function visible_teams() returns integer[]
    language sql stable
begin atomic
    select coalesce(array_agg(t.id), '{}')
    from teams t
    where case coalesce(current_setting('outrider.teams', true), '')
              when '' then exists (
                  select from team_roles m join pg_roles r on r.rolname = m.role
                  where m.team = t.id and pg_has_role(session_user, r.oid, 'member'))
              else (works_for_every_team(session_user) or exists (
                       select from team_roles m join pg_roles r on r.rolname = m.role
                       where coalesce(m.team, t.id) = t.id
                           and pg_has_role(session_user, r.oid, 'member')))
                  and (current_setting('outrider.teams', true) = '*'
                       or t.id::text = any(string_to_array(
                              current_setting('outrider.teams', true), ',')))
          end;
end;

-- For what is no team's own: who sees all teams.
create function sees_every_team() returns boolean
    language sql stable
begin atomic
    select not exists (select from teams t where t.id <> all((select visible_teams())::integer[]));
end;

-- Make a table's rows visible where `condition` holds, and to its owner and the ingest and admin
-- roles always. For the owner too there is a policy, so that nothing depends on being exempt.
create function bind_to_teams(target regclass, condition text) returns void
    language plpgsql as $$
declare
    everybody text;
begin
    execute format('alter table %s enable row level security, force row level security', target);
    execute format('drop policy if exists by_team on %s', target);
    execute format('create policy by_team on %s using (%s)', target, condition);
    execute format('drop policy if exists everything on %s', target);
    select string_agg(quote_ident(rolname), ', ') into everybody
    from pg_roles
    where rolname in ('outrider_ingest', 'outrider_admin')
        or oid = (select relowner from pg_class where oid = target);
    execute format('create policy everything on %s to %s using (true)', target, everybody);
end $$;

create function team_condition() returns text language sql immutable
    return 'team = any ((select visible_teams())::integer[])';

create or replace function guard_partition(target regclass, parent regclass) returns void
    language plpgsql as $$
begin
    if parent = 'audit_log'::regclass then
        perform make_insert_only(target);
    end if;
    -- Nobody is granted a partition, but whoever is by mistake sees no more through it.
    perform bind_to_teams(target, team_condition());
end $$;

-- Who may see what is changed by people too, and so it is recorded.
create function team_roles_audited() returns trigger language plpgsql as $$
begin
    -- By its schema: nobody puts a table of that name before it.
    execute format($insert$
        insert into %1$I.audit_log (ts, class, event, actor, target, outcome, before, after,
            severity, message, service, worker, host)
        select clock_timestamp(), 'audit', 'user.role_changed', session_user, $1, 'success', $2,
            $3, 9, session_user || ': user.role_changed ' || $1, 'outrider', 'psql',
            coalesce(host(inet_client_addr()), 'local')
        from pg_advisory_xact_lock_shared(%1$I.audit_lock_key())
        $insert$, tg_table_schema)
    using coalesce(new.role, old.role), coalesce(old.team::text, case when old is null then null
        else 'every' end), coalesce(new.team::text, case when new is null then null
        else 'every' end);
    return null;
end $$;
create trigger audited after insert or update or delete on team_roles
    for each row execute function team_roles_audited();
