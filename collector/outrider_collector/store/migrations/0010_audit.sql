-- The audit log: who did what to what, as rows that nobody changes, sealed as they come.
-- What is hashed and how: the module canonical of store/audit.

create sequence audit_ids;

-- Records of the audit and security classes, written by the transaction that stored them in blocks,
-- and acts of people, written by the transaction of the act. Partitioned by month of arrival.
create table audit_log (
    -- In the order in which rows are sealed. Who may insert may give neither of these two.
    id bigint not null default nextval('audit_ids'),
    received_at timestamptz not null default now(),
    ts timestamptz not null,
    -- audit or security.
    class text not null,
    event text not null,
    -- Of the record's attributes, where they are there: who, on what, with what outcome, why, and
    -- what was changed as JSON.
    actor text,
    target text,
    outcome text,
    reason text,
    before text,
    after text,
    severity smallint not null,
    message text,
    error_code text,
    trace_id uuid,
    correlation_id text,
    -- All of the record's attributes, as it came; `attributes_json(attributes)` reads it.
    attributes text,
    team integer not null default 1,
    service text not null,
    worker text not null,
    host text not null,
    -- Where the record lies among the logs; null: an act, which a collector or command wrote itself.
    agent bigint,
    stream bigint,
    stream_offset bigint,
    commit_id bigint,
    -- True where the record's bytes can be ones that were stored before.
    replayed boolean not null default false
) partition by range (received_at);
create index audit_log_id on audit_log (id);
create index audit_log_received on audit_log (received_at);

-- One for at most 1,000 rows of a month: what they were, and through `previous` all before them.
create table audit_seals (
    number bigint primary key,
    -- Start (UTC) of the month in which the rows arrived.
    month timestamptz not null,
    -- Every row of the month with after_id < id <= up_to_id.
    after_id bigint not null,
    up_to_id bigint not null,
    ids bigint[] not null,
    -- 32 bytes a row, in the order of ids.
    leaves bytea not null,
    -- Merkle tree hash of the leaves.
    tree bytea not null,
    -- Root of the seal before; 32 zero bytes before the first.
    previous bytea not null,
    sealed_at timestamptz not null,
    root bytea not null
);

-- Who adds rows holds this lock shared from before the first id until after COMMIT; who looks how
-- far ids are final takes it exclusively, for a moment.
create function audit_lock_key() returns bigint language sql immutable parallel safe
    return 7238114513;

create function insert_only() returns trigger language plpgsql as $$
begin
    raise exception '% is insert-only: rows are neither changed nor removed', tg_table_name
        using errcode = 'insufficient_privilege';
end $$;

-- For every role, the owner too, and in sessions that replicate.
create function make_insert_only(target regclass) returns void language plpgsql as $$
begin
    execute format('create trigger insert_only before update or delete or truncate on %s'
                   ' for each statement execute function insert_only()', target);
    execute format('alter table %s enable always trigger insert_only', target);
end $$;
select make_insert_only('audit_log'), make_insert_only('audit_seals');

-- What a new partition needs beside its parent's columns and indexes: triggers of statements and
-- row-level security do not come by attaching.
create function guard_partition(target regclass, parent regclass) returns void
    language plpgsql as $$
begin
    if parent = 'audit_log'::regclass then
        perform make_insert_only(target);
    end if;
end $$;

insert into leases (name) values ('sealer');
