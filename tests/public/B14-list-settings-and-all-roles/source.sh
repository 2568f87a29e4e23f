#!/usr/bin/env bash
# After https://github.com/denishpatel/pg-clone-schema/issues/47.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b14_lists;
drop role if exists b14_app;
create role b14_app;
create database b14_lists;
SQL
P -d b14_lists <<'SQL'
create schema "My Schema";
create schema "quo""te";
create schema "it's";
create table "My Schema".t (id int primary key);
insert into "My Schema".t select generate_series(1, 140);
create text search configuration public.b14_cfg (copy = pg_catalog.simple);
SQL
P -d postgres <<'SQL'
alter database b14_lists set search_path = "$user", "My Schema", "quo""te", "it's", public;
alter database b14_lists set datestyle = 'SQL, DMY';
alter database b14_lists set timezone = 'Europe/Vienna';
alter database b14_lists set default_text_search_config = 'public.b14_cfg';
alter database b14_lists set "b14.backslash" = 'C:\temp\';
alter role b14_app set search_path = app, "Mixed Case", public;
alter role b14_app in database b14_lists set search_path = '';
alter role b14_app in database b14_lists set log_min_duration_statement = '250ms';
alter role all set log_min_duration_statement = '31s';
SQL
