#!/usr/bin/env bash
# After https://github.com/puppetlabs/puppetlabs-peadm/pull/676.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b20_untouched;
drop database if exists b20_closed;
drop database if exists b20_anew;
drop database if exists b20_dropped;
drop role if exists b20_app;
drop role if exists b20_joe;
create role b20_app;
create role b20_joe;
create database b20_untouched;
create database b20_closed;
create database b20_anew;
create database b20_dropped;
SQL
P -d b20_untouched -c "create table t (id int primary key)" -c "insert into t select generate_series(1, 20)"
P -d b20_closed <<'SQL'
revoke all on schema public from public;
alter schema public owner to b20_app;
grant usage on schema public to b20_joe;
comment on schema public is 'closed by the security team';
create table t (id int primary key);
insert into t select generate_series(1, 20);
SQL
P -d b20_anew <<'SQL'
drop schema public cascade;
create schema public;
create table t (id int primary key);
insert into t select generate_series(1, 20);
SQL
P -d b20_dropped <<'SQL'
drop schema public;
create schema app authorization b20_app;
create table app.t (id int primary key);
insert into app.t select generate_series(1, 20);
SQL
