#!/usr/bin/env bash
# Not from a public report: a sharper form of B19.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b27_parts;
create database b27_parts;
SQL
P -d b27_parts <<'SQL'
create table seen (part int not null, n bigint not null);
create table readings (id int not null, part int not null, changed int not null default 0, pad text) partition by list (part);
do $$ begin for i in 1..11 loop execute format('create table readings_%s partition of readings for values in (%s)', i, i); end loop; end $$;
insert into readings (id, part, pad) select i, 1 + i % 11, repeat(md5(i::text), 3) from generate_series(1, 5500) i;
create function touch() returns trigger language plpgsql as $f$ begin new.changed := new.changed + 1; return new; end $f$;
create trigger readings_touch before insert or update on readings for each row execute function touch();
SQL
