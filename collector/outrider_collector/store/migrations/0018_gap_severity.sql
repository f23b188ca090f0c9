-- A view of errors is complete although debug records were dropped: a gap may say how severe what is
-- missing can be.

alter table gaps
    -- The highest severity that may be among the lines; null: not known.
    add column severity_max smallint;
