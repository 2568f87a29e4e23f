-- Delayed tables as applications make them, and one large table that is not delayed.
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers SELECT generate_series(1, 100);
CREATE TABLE events (
    id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, code text NOT NULL,
    body text, at timestamptz NOT NULL DEFAULT '2024-02-29 12:00:00+00', UNIQUE (code));
INSERT INTO events (customer, code, body)
    SELECT 1 + n % 100, 'c' || n, CASE WHEN n % 7 = 0 THEN E'tab\tback\\slash\nline' END
    FROM generate_series(1, 10000) n;
CREATE INDEX by_customer ON events (customer) WITH (fillfactor = 70);
CREATE INDEX "By Body" ON events (lower(body)) WHERE body IS NOT NULL;
COMMENT ON INDEX by_customer IS 'who''s';
ALTER INDEX "By Body" ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE events CLUSTER ON by_customer;
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER usual AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
CREATE TRIGGER always AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
CREATE TRIGGER replica AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
CREATE TRIGGER off AFTER INSERT ON events FOR EACH ROW EXECUTE PROCEDURE note();
TRUNCATE log;
ALTER TABLE events ENABLE ALWAYS TRIGGER always;
ALTER TABLE events ENABLE REPLICA TRIGGER replica;
ALTER TABLE events DISABLE TRIGGER off;
CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10);
CREATE TABLE "parts 2" PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT n, 1 + n % 19 FROM generate_series(1, 1900) n;
CREATE INDEX ON parts_1 (id);
CREATE TABLE hollow (id int);
CREATE MATERIALIZED VIEW events_view AS SELECT count(*) FROM events;
CREATE VIEW between_views AS SELECT * FROM events_view;
CREATE MATERIALIZED VIEW a_second_view AS SELECT count + 1 FROM between_views;
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 FROM events WITH NO DATA;
CREATE TABLE large AS SELECT n AS id, md5(n::text) AS word, repeat(md5((n + 1)::text), 3) AS filler
    FROM generate_series(1, 60000) n;
ALTER TABLE large ADD PRIMARY KEY (id);
CREATE INDEX large_word ON large (word);
