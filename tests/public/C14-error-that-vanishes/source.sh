#!/usr/bin/env bash
# Seen with plain pg_restore -j: its workers tear the lines of each other. bin/pg_restore does it every time.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres -c "drop database if exists c14_vanish" -c "create database c14_vanish"
P -d c14_vanish <<'SQL'
create table parent (id int primary key);
insert into parent select generate_series(1, 10);
create table child (id int primary key, parent int references parent);
insert into child select i, i from generate_series(1, 10) i;
-- an orphan behind the foreign key: it cannot be made on the target
set session_replication_role = replica;
insert into child values (11, 4711);
reset session_replication_role;
-- what the plan accepts
create view known as select 1 as id;
create or replace view known as select id from known;
SQL
