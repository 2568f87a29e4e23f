-- A table and everything around it, all by one awkward name.
CREATE SCHEMA @NAME@;
CREATE TABLE @NAME@.@NAME@ (@NAME@ int PRIMARY KEY, b text);
CREATE INDEX ON @NAME@.@NAME@ (b);
INSERT INTO @NAME@.@NAME@ SELECT i, 'row ' || i FROM generate_series(1, 123) i;
CREATE VIEW @NAME@."view" AS SELECT @NAME@ FROM @NAME@.@NAME@;
CREATE SEQUENCE @NAME@."sequence" START 42;
COMMENT ON TABLE @NAME@.@NAME@ IS 'it''s a comment; with "quotes"';
