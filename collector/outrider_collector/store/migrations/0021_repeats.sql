-- A message that is tried again tells what it told: a receiver that knows its id leaves it out.

alter table notifications
    -- Row that led the message of the last attempt, by whose name the message goes; null before the
    -- first. Who has the same one is tried again with it, and nobody else is.
    add column message bigint;
create index notifications_told_together on notifications (message) where message is not null;
