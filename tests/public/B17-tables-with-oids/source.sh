#!/usr/bin/env bash
# After https://knowledge.enterprisedb.com/hc/en-us/articles/13522679989020-Major-Postgres-upgrade-using-native-logical-replication-and-handling-tables-WITH-OIDS.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b17_oids;
create database b17_oids;
SQL
P -d b17_oids <<'SQL'
create table documents (title text not null) with oids;
create table documents_old (closed date) inherits (documents);
create table empty_one (a int) with oids;
create table modern (id int primary key);
insert into documents select 'doc ' || i from generate_series(1, 170) i;
insert into documents_old select 'old ' || i, date '2001-01-01' + i from generate_series(1, 30) i;
insert into modern select generate_series(1, 10);
create table notes (doc oid not null, note text not null);
insert into notes select oid, 'about ' || title from documents;
SQL
