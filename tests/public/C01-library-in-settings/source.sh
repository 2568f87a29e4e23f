#!/usr/bin/env bash
# From the migrations of supabase/postgres (7db7e1a): session_preload_libraries = 'safeupdate' on a role.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists c01_lib;
drop database if exists c01_role;
drop role if exists c01_app;
create role c01_app login password 'c01';
create database c01_lib;
create database c01_role owner c01_app;
SQL
P -d c01_lib -c "create table t (id int primary key)" -c "insert into t select generate_series(1, 10)"
P -d c01_role -c "create table t (id int primary key)" -c "insert into t select generate_series(1, 10)" -c "grant all on t to c01_app"
P -d postgres -c "alter database c01_lib set session_preload_libraries = '\$libdir/adminpack'" -c "alter role c01_app set session_preload_libraries = '\$libdir/adminpack'"
