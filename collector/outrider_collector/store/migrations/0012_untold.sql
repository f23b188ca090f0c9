-- What is still to be said: the end of a silence tells what came and went under it, and messages are
-- edited when somebody acknowledges.

alter table alerts
    -- It fired and ended while a silence held it back: told in a digest when that is over.
    add column owed boolean not null default false;
create index alerts_owed on alerts (id) where owed;

alter table notifications
    -- Its message does not say yet that somebody acknowledged.
    add column outdated boolean not null default false;
create index notifications_outdated on notifications (id) where outdated;
