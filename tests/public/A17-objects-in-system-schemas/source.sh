#!/usr/bin/env bash
# After https://taourl.com/read-2679767.html.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE DATABASE a17_system;
SQL
q a17_system <<'SQL'
CREATE FUNCTION pg_catalog.a17_days(a date, b date) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT b - a $$;
CREATE TABLE information_schema.a17_policy (name text PRIMARY KEY, value text NOT NULL);
INSERT INTO information_schema.a17_policy SELECT 'policy ' || i, 'on' FROM generate_series(1, 25) i;
CREATE TABLE public.visible (id int PRIMARY KEY);
INSERT INTO public.visible SELECT generate_series(1, 5);
SQL
