-- Two versions of Outrider work on one schema during a rolling restart: see "Migrations" in the README
-- of collector/outrider_collector/store.

alter table schema_migrations
    -- The newest migration that a version must know to work with this one; null: none, it only adds.
    -- A migration that takes something away sets it: update .. set minimum = .. where version = ..
    add column minimum integer;
