-- What the kinds of rules beside counting need: numbers of hits, and gaps by their commit.

alter table hits add column numbers double precision[];
comment on column hits.numbers is
    'Sum, lowest, highest and last of the numbers that the records carry, where a rule asks for them.';

create index gaps_commit on gaps (commit_id);
