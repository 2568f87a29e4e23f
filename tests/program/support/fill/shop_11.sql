-- What came with version 11.
SET ROLE app_owner;
CREATE TABLE sales.events (id bigint, at date, payload text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE sales.events_0 PARTITION OF sales.events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE sales.events_1 PARTITION OF sales.events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX events_at ON sales.events (at);
INSERT INTO sales.events SELECT i, '2024-01-01'::date + i % 90, md5(i::text) FROM generate_series(1, 2000) i;
CREATE TABLE sales.payments_default PARTITION OF sales.payments DEFAULT;
INSERT INTO sales.payments VALUES ('2030-01-01', 'far', 0.1);
CREATE PROCEDURE sales.tidy() LANGUAGE sql AS $$ DELETE FROM sales.scratchpad WHERE i > 1000 $$;
CREATE INDEX customers_covering ON sales.customers (id) INCLUDE (name);
RESET ROLE;
