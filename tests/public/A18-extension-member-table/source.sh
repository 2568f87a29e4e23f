#!/usr/bin/env bash
# After https://github.com/ossc-db/pg_hint_plan/pull/56.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE DATABASE a18_member;
SQL
q a18_member <<'SQL'
CREATE EXTENSION hstore;
CREATE TABLE hint_rule (id int PRIMARY KEY, rule text NOT NULL);
INSERT INTO hint_rule SELECT i, 'rule ' || i FROM generate_series(1, 77) i;
ALTER EXTENSION hstore ADD TABLE hint_rule;
CREATE TABLE ordinary (id int PRIMARY KEY, attrs hstore);
INSERT INTO ordinary SELECT i, hstore('a', i::text) FROM generate_series(1, 10) i;
SQL
