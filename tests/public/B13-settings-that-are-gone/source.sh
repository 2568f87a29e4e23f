#!/usr/bin/env bash
# After https://github.com/yugabyte/yugabyte-db/issues/26248.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b13_settings;
drop database if exists b13_legacy;
drop role if exists b13_app;
create database b13_settings;
create database b13_legacy;
create role b13_app login password 'not-a-secret' connection limit 5;
alter role b13_app set default_with_oids = on;
alter role b13_app set work_mem = '7MB';
alter role b13_app set operator_precedence_warning = on;
alter role b13_app set log_statement = 'mod';
alter database b13_settings set default_with_oids = off;
alter database b13_settings set "b13.tenant" = 'north ''and'' south, $1 "x"';
alter database b13_settings set "b13-app.mode" = 'fast';
alter database b13_settings set maintenance_work_mem = '33MB';
alter role b13_app in database b13_settings set default_with_oids = off;
alter role b13_app in database b13_settings set random_page_cost = '1.5';
SQL
P -d b13_settings <<'SQL'
create table t (id int primary key);
insert into t select generate_series(1, 130);
create function still_good() returns int language sql set work_mem = '9MB' as 'select 2';
SQL
P -d b13_legacy <<'SQL'
create table t (id int primary key);
insert into t select generate_series(1, 13);
create function legacy() returns int language sql set operator_precedence_warning = off as 'select 1';
SQL
