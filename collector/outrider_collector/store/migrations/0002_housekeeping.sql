-- What keeps every table small, and finds it without reading the whole: indexes for the rows that
-- are old enough to go, and for the earlier episodes of an alert.

create index stream_info_closed on stream_info (closed_at) where closed_at is not null;
create index gaps_detected on gaps (detected_at);
create index quarantine_received on quarantine (received_at);
create index system_health_history_at on system_health_history (at);
create index alerts_over on alerts (updated_at) where state = 'resolved';
create index alerts_episodes on alerts (rule, key, started_at);

comment on column alerts.flapping is
    'Three earlier episodes of (rule, key) fired within the hour before this one began.';
comment on column agents.instance is
    'Nonce of the agent''s process of the newest session: tells a clone from a restart.';
comment on column agents.boot_id is
    'The kernel''s, of the newest session: tells a restart of the host from one of the agent.';

-- Never written.
alter table system_health_history drop column detail;
