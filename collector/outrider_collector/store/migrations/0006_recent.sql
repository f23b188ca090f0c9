-- Lists of alerts and of what was told are read by time, over all teams that the reader may see.

-- Alerts that were open at some time since a moment: not over, or over no earlier.
drop index alerts_recent;
create index alerts_recent on alerts (coalesce(resolved_at, 'infinity'));

-- The notification centre, counts of a day, and the firings of the last moments: one index for all.
drop index notifications_recent;
drop index notifications_made;
create index notifications_recent on notifications (created_at, id);

-- Nothing reads it: what tells a restart of an agent is its instance.
alter table agents drop column boot_id;
