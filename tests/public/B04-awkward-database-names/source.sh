#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/issues/375.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
here=$(cd "$(dirname "$0")" && pwd)
. "$here/names.sh"
i=0
for n in "${NAMES[@]}"; do
  i=$((i + 1))
  P -d postgres -c "drop database if exists $(ident "$n")"
  P -d postgres -c "create database $(ident "$n") template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"
  P -d "$(conninfo "$n")" -c "create table t (id int primary key, db text default current_database()); insert into t (id) select generate_series(1, 10 + $i)"
  P -d postgres -c "comment on database $(ident "$n") is 'number $i'"
done
