#!/usr/bin/env bash
# Seen with PostgreSQL's own regression databases of 14 and 16 (mvtest_tm).
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres -c "drop database if exists c18_views" -c "create database c18_views"
P -d c18_views <<'SQL'
create table event (id int primary key, kind int not null);
insert into event select i, i % 7 from generate_series(1, 700) i;
create materialized view by_kind as select kind, count(*) as n from event group by kind;
create unique index by_kind_kind on by_kind (kind);
SQL
