#!/usr/bin/env bash
# After https://github.com/apache/cloudberry/pull/1176.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b15_enum;
create database b15_enum;
SQL
P -d b15_enum <<'SQL'
create type state as enum ('new', 'open', 'waiting', 'blocked', 'solved', 'closed', 'reopened', 'spam', 'merged', 'dropped', 'late', 'held');
alter type state add value 'escalated' before 'closed';
create table tickets (state state not null, id int not null, title text not null) partition by hash (state);
create table tickets_0 partition of tickets for values with (modulus 4, remainder 0);
create table tickets_1 partition of tickets for values with (modulus 4, remainder 1);
create table tickets_2 partition of tickets for values with (modulus 4, remainder 2);
create table tickets_3 partition of tickets for values with (modulus 4, remainder 3);
create index tickets_id on tickets (id);
insert into tickets select (enum_range(null::state))[1 + i % 13], i, 'ticket ' || i from generate_series(1, 13000) i;
create table plain (k int not null, v text) partition by hash (k);
create table plain_0 partition of plain for values with (modulus 2, remainder 0);
create table plain_1 partition of plain for values with (modulus 2, remainder 1);
insert into plain select i, md5(i::text) from generate_series(1, 1000) i;
SQL
