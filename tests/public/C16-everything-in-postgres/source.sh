#!/usr/bin/env bash
# As in supabase/postgres (7db7e1a): everything is in the database postgres.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop schema if exists c16_auth cascade;
create schema c16_auth;
create table c16_auth.users (id int primary key, email text not null);
insert into c16_auth.users select i, 'u' || i || '@example.org' from generate_series(1, 250) i;
SQL
