#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/issues/900.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b05_timeouts;
create database b05_timeouts;
SQL
P -d b05_timeouts <<'SQL'
create table big (id int primary key, pad text not null);
insert into big select i, repeat(md5(i::text), 4) from generate_series(1, 800000) i;
create index big_pad on big (pad);
create materialized view big_sum as select left(pad, 2) as k, count(*) as n from big group by 1;
SQL
v=$(P -At -d postgres -c "show server_version_num")
role=$(P -At -d postgres -c "select quote_ident(current_user)")
P -d postgres <<SQL
alter database b05_timeouts set idle_in_transaction_session_timeout = '400ms';
alter database b05_timeouts set lock_timeout = '20ms';
alter role $role in database b05_timeouts set statement_timeout = '30ms';
SQL
if [ "$v" -ge 140000 ]; then P -d postgres -c "alter database b05_timeouts set idle_session_timeout = '600ms'"; fi
if [ "$v" -ge 170000 ]; then P -d postgres -c "alter database b05_timeouts set transaction_timeout = '500ms'"; fi
