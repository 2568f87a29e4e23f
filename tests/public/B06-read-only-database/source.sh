#!/usr/bin/env bash
# After http://www.kouhan.cn/en/article/00021138.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b06_readonly;
drop database if exists b06_serial;
create database b06_readonly;
create database b06_serial;
SQL
for d in b06_readonly b06_serial; do P -d $d <<'SQL'
create table events (id int primary key, kind text not null, at timestamptz not null);
insert into events select i, 'k' || i % 13, timestamptz '2020-01-01 00:00+00' + i * interval '1 minute' from generate_series(1, 20000) i;
create index events_kind on events (kind);
create materialized view kinds as select kind, count(*) as n from events group by 1;
create sequence s start 1000;
select nextval('s'), nextval('s');
SQL
done
P -d postgres <<'SQL'
alter database b06_readonly set default_transaction_read_only = on;
alter database b06_serial set default_transaction_isolation = 'serializable';
alter database b06_serial set default_transaction_deferrable = on;
alter database b06_serial set default_transaction_read_only = on;
SQL
