#!/usr/bin/env bash
# C14 by itself, with the real pg_restore: a race.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
# 6 databases alike: the more, the surer that the race is met
for i in $(seq 0 5); do P -d postgres -c "drop database if exists c20_d$i"; done
P -d postgres -c "drop role if exists c20_reader" -c "create role c20_reader" -c "create database c20_d0"
P -d c20_d0 <<'SQL'
do $$ declare n text; begin
  for i in 1..12 loop execute format('create table t%s as select g as id from generate_series(1, 50) g', i); end loop;
  for i in 1..150 loop
    n := 'v' || lpad(i::text, 4, '0');
    execute format('create view %s_good as select 1 as id', n);
    execute format('grant select on %s_good to c20_reader', n);
    -- views that read themselves cannot be restored, nor can their privileges; the plan accepts all of these errors but one
    n := n || case when i = 70 then '_other' else '_known' end;
    execute format('create view %s as select 1 as id', n);
    execute format('create or replace view %1$s as select id from %1$s', n);
    execute format('grant select on %s to c20_reader', n);
  end loop;
end $$;
SQL
for i in $(seq 1 5); do P -d postgres -c "create database c20_d$i template c20_d0"; done
