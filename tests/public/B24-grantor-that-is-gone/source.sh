#!/usr/bin/env bash
# After https://github.com/cockroachdb/cockroach/pull/171216.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b24_db;
drop role if exists b24_user;
drop role if exists b24_second;
drop role if exists b24_zgroup;
drop role if exists "b24 Odd ""Role""";
drop role if exists b24_admin;
create role b24_zgroup nologin;
create role b24_admin createrole;
create role b24_user login password 'not-a-secret' valid until '2031-01-01 00:00+00';
create role b24_second noinherit;
create role "b24 Odd ""Role""";
grant b24_zgroup to b24_admin with admin option;
set role b24_admin;
grant b24_zgroup to b24_user;
grant b24_zgroup to b24_second with admin option;
reset role;
set role b24_second;
grant b24_zgroup to "b24 Odd ""Role""";
reset role;
revoke b24_zgroup from b24_admin;
drop role b24_admin;
comment on role b24_zgroup is 'it''s the group';
create database b24_db owner b24_zgroup;
SQL
P -d b24_db <<'SQL'
create table t (id int primary key);
insert into t select generate_series(1, 24);
alter table t owner to b24_user;
grant select on t to "b24 Odd ""Role""" with grant option;
SQL
n=$(P -At -d postgres -c "select count(*) from pg_auth_members m where not exists (select from pg_authid a where a.oid = m.grantor)")
[ "$n" -ge 2 ] || { echo "no membership without a grantor here: is this server 16 or later?" >&2; exit 1; }
