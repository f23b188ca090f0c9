-- Edits are owed: a message that was sent is edited until it reads as things are.

alter table notifications
    -- Changes that its message does not show yet.
    add column edits_owed integer not null default 0,
    -- An edit may be tried from then on; while one is on its way, the end of its lease.
    add column edit_at timestamptz,
    -- Edits tried in a row that came to nothing.
    add column edit_tries smallint not null default 0;
update notifications set edits_owed = 1 where outdated;
drop index notifications_outdated;
alter table notifications drop column outdated;
create index notifications_edits_owed on notifications (id) where edits_owed > 0;
