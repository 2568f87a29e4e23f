#!/usr/bin/env bash
# After https://github.com/postgrespro/pg_probackup/issues/655.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b12_backup;
create database b12_backup;
do $$ begin
  if not exists (select from pg_roles where rolname = 'b12_barman') then create role b12_barman login; end if;
end $$;
grant pg_read_all_settings to b12_barman;
SQL
for d in b12_backup postgres; do P -d $d <<'SQL'
grant execute on function pg_start_backup(text, boolean, boolean) to b12_barman;
grant execute on function pg_stop_backup() to b12_barman;
grant execute on function pg_stop_backup(boolean, boolean) to b12_barman;
grant execute on function pg_switch_wal() to b12_barman;
grant execute on function pg_create_restore_point(text) to b12_barman;
SQL
done
P -d b12_backup <<'SQL'
create table t (id int primary key);
insert into t select generate_series(1, 120);
grant select on t to b12_barman;
SQL
