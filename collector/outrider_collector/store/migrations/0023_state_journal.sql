-- All states that changed since the step stored before are stored with the next one that tells of an
-- alert, or that is a checkpoint: a thousand where keys are busy. As rows they were most of the time
-- from a line to its message. Where more than a hundred changed beside those of alerts they are one value
-- here first, and become rows of rule_states in small parts later.

create table rule_state_journal (
    -- The step as of which these states are, and which part of them.
    step bigint not null,
    part integer not null,
    -- zstd of MessagePack: (rule, key, state or null) of each.
    states bytea not null,
    primary key (step, part)
);
-- It is compressed already.
alter table rule_state_journal alter column states set storage external;
