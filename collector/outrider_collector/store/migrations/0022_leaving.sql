-- An attempt whose deliverer ended before anything left is surely not sent: it uses up no repeat.

alter table notification_attempts
    -- Whether its first byte may have left. A collector that records this says false with the
    -- attempt and true right before it writes; of attempts of one that does not, nobody can tell.
    add column may_have_left boolean not null default true;
