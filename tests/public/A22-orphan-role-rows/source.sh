#!/usr/bin/env bash
# After https://github.com/cockroachdb/cockroach/pull/171216.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE ROLE a22_team;
CREATE ROLE a22_lead;
CREATE ROLE a22_member LOGIN;
CREATE ROLE a22_gone LOGIN;
CREATE DATABASE a22_orphans;
GRANT a22_team TO a22_lead WITH ADMIN OPTION;
SET ROLE a22_lead;
GRANT a22_team TO a22_member;
RESET ROLE;
SQL
q a22_orphans <<'SQL'
CREATE TABLE salary (id int PRIMARY KEY, amount numeric);
INSERT INTO salary SELECT i, 1000 + i FROM generate_series(1, 120) i;
GRANT SELECT ON salary TO a22_team;
GRANT SELECT ON salary TO a22_gone;
CREATE TABLE plain (id int PRIMARY KEY);
INSERT INTO plain SELECT generate_series(1, 9);
GRANT SELECT ON plain TO a22_member;
SQL
# what a repair by hand, or a bug of old times, leaves behind
q postgres <<'SQL'
DELETE FROM pg_catalog.pg_authid WHERE rolname IN ('a22_gone', 'a22_lead');
SQL
