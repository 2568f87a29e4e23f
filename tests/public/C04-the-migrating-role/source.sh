#!/usr/bin/env bash
# From PostgREST's test/io/fixtures/roles.sql (4834678) and supabase/postgres (7db7e1a): settings and memberships of postgres itself.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists c04_role;
drop role if exists c04_app;
drop role if exists c04_group;
create role c04_app login password 'c04';
create role c04_group;
create database c04_role owner c04_app;
SQL
P -d c04_role <<'SQL'
create schema app;
create table app.t (id int primary key);
insert into app.t select generate_series(1, 10);
SQL
P -d postgres <<'SQL'
alter role postgres set search_path = public, app;
alter role postgres set work_mem = '77MB';
comment on role postgres is 'c04: call 4711 before use';
grant c04_group to postgres with admin option;
grant postgres to c04_app;
SQL
