#!/usr/bin/env bash
# Seen beside LedgerSMB, Lago and Danbooru, whose installations create their extensions as the role of the application.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists c03_ext;
drop role if exists c03_app;
drop role if exists c03_reader;
create role c03_app login password 'c03';
create role c03_reader;
create database c03_ext owner c03_app;
SQL
PGUSER=c03_app PGPASSWORD=c03 P -d c03_ext <<'SQL'
create schema ext;
create extension hstore schema ext;
create extension pg_trgm schema ext version '1.4';
create table t (id int primary key, h ext.hstore);
insert into t select i, ext.hstore('k', i::text) from generate_series(1, 10) i;
SQL
