#!/usr/bin/env bash
# After https://github.com/CartoDB/cartodb-postgresql/issues/368.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b22_log;
drop database if exists b22_frozen;
drop database if exists b22_refresh;
create database b22_log;
create database b22_frozen;
create database b22_refresh;
SQL
for d in b22_log b22_frozen b22_refresh; do P -d $d <<'SQL'
create table events (id int primary key, kind text not null, n int not null);
insert into events select i, 'k' || i % 17, i % 1000 from generate_series(1, 22000) i;
create index events_kind on events (kind);
create index events_n on events (n);
SQL
done
P -d b22_refresh -c "create materialized view kinds as select kind, count(*) as c from events group by 1"
for d in b22_log b22_refresh; do P -d $d <<'SQL'
create table ddl_log (id serial primary key, tag text not null);
create function log_ddl() returns event_trigger language plpgsql as $f$ begin insert into public.ddl_log (tag) values (tg_tag); end $f$;
create event trigger b22_log_ddl on ddl_command_end execute procedure log_ddl();
create table later (id int);
alter event trigger b22_log_ddl enable always;
SQL
done
P -d b22_log <<'SQL'
create function no_index_drop() returns event_trigger language plpgsql as $f$
begin
  if exists (select from pg_event_trigger_dropped_objects() where object_type = 'index') then
    raise exception 'dropping an index needs a ticket';
  end if;
end $f$;
create function nothing() returns event_trigger language plpgsql as $f$ begin raise exception 'this one is disabled'; end $f$;
create event trigger b22_disabled on ddl_command_start execute procedure nothing();
alter event trigger b22_disabled disable;
create event trigger b22_no_drop on sql_drop execute procedure no_index_drop();
SQL
P -d b22_frozen <<'SQL'
create function frozen() returns event_trigger language plpgsql as $f$ begin raise exception 'no DDL in this database (%)', tg_tag; end $f$;
create event trigger b22_frozen on ddl_command_start execute procedure frozen();
SQL
