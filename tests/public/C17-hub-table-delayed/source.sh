#!/usr/bin/env bash
# Seen with Danbooru (06587d1), Lago and LedgerSMB: a table that everything refers to is delayed.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres -c "drop database if exists c17_hub" -c "create database c17_hub"
P -d c17_hub <<'SQL'
create table users (id int primary key, name text);
insert into users select i, 'u' || i from generate_series(1, 1000) i;
do $$ begin
  for i in 1..60 loop
    execute format('create table part_%s (id int primary key, user_id int references users, approver_id int references users, parent_id int %s)', i,
      case when i > 1 then format('references part_%s', i - 1) else '' end);
    execute format('insert into part_%1$s select i, i, i, case when %1$s > 1 then i end from generate_series(1, 20) i', i);
  end loop;
end $$;
SQL
