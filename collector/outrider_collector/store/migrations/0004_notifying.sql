-- Notices that are told together, messages that are no alert's, conversations that moved, silences
-- that come again every week.

alter table notifications
    -- A test of a channel, and what a collector said while Postgres was away, belong to no alert.
    alter column alert drop not null,
    -- Rows of one channel and bundle that wait at the same time leave as one message.
    add column bundle text,
    -- Row whose message is edited to tell this one too; where that cannot be, it is a message.
    add column joins bigint;
create index notifications_message on notifications (channel, provider_id)
    where provider_id is not null;
create index notifications_made on notifications (created_at) where notice <> 'resolved';

-- A group that became a supergroup has another number; its messages go there.
create table conversation_aliases (
    conversation text primary key,
    alias text not null,
    noted_at timestamptz not null default clock_timestamp()
);

alter table silences
    -- Weekly windows of local time, such as 'mon-fri 22:00-07:00'; null: all the time.
    add column schedule text,
    add column timezone text,
    -- True: critical alerts pass.
    add column quiet_hours boolean not null default false,
    -- Names the act that made it where that act may come twice, such as a button's.
    add column origin text unique;

-- How far the buttons pressed under a bot's messages were acted upon.
create table button_offsets (
    account text primary key,
    update_id bigint not null
);

create function outranks(priority text, other text) returns boolean
    language sql immutable parallel safe
    return array_position(array['info', 'warning', 'critical'], priority)
        > array_position(array['info', 'warning', 'critical'], other);
