#!/usr/bin/env bash
# After https://github.com/yugabyte/yugabyte-db/issues/8047.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b25_app;
drop role if exists b25_dev;
drop role if exists b25_aaa;
drop role if exists b25_owner;
create role b25_owner nologin;
create role b25_dev login in role b25_owner;
create role b25_aaa login in role b25_owner;
alter role b25_dev set role = 'b25_owner';
alter role b25_aaa set role = b25_owner;
create database b25_app owner b25_owner;
SQL
P -d b25_app <<'SQL'
create table secret (id int primary key, v text not null);
insert into secret select i, md5(i::text) from generate_series(1, 250) i;
revoke all on secret from public;
create table work (id int primary key, v text not null);
insert into work select i, md5(i::text) from generate_series(1, 2500) i;
create index work_v on work (v);
alter table work owner to b25_owner;
create sequence s start 77;
select nextval('s') \g /dev/null
SQL
P -d postgres -c "alter database b25_app set role = 'b25_owner'"
