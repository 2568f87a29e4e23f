#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/pull/490.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE ROLE a12_app LOGIN;
CREATE DATABASE a12_frozen OWNER a12_app;
SQL
q a12_frozen <<'SQL'
CREATE TABLE event_now (id int PRIMARY KEY, tags text[], words text);
CREATE TABLE event_late (id int PRIMARY KEY, tags text[], words text);
INSERT INTO event_now SELECT i, ARRAY[NULL, 'x' || i, NULL], 'now ' || i FROM generate_series(1, 500) i;
INSERT INTO event_late SELECT i, ARRAY[NULL, 'x' || i, 'null'], 'late ' || i FROM generate_series(1, 20000) i;
CREATE INDEX event_late_words ON event_late (words);
CREATE INDEX event_late_tags ON event_late USING gin (tags);
CREATE MATERIALIZED VIEW tag_count AS SELECT t, count(*) AS n FROM event_late, unnest(tags) t GROUP BY t;
SQL
q postgres <<'SQL'
ALTER DATABASE a12_frozen SET default_transaction_read_only = on;
ALTER DATABASE a12_frozen SET statement_timeout = '1s';
ALTER DATABASE a12_frozen SET idle_in_transaction_session_timeout = '2s';
ALTER DATABASE a12_frozen SET lock_timeout = '50ms';
ALTER DATABASE a12_frozen SET default_transaction_isolation = 'serializable';
ALTER DATABASE a12_frozen SET array_nulls = off;
ALTER ROLE a12_app IN DATABASE a12_frozen SET default_transaction_read_only = off;
SQL
