#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/issues/1027.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b21_blobs;
drop role if exists b21_app;
drop role if exists b21_reader;
create role b21_app;
create role b21_reader;
create database b21_blobs;
SQL
P -d b21_blobs <<'SQL'
create table files (id int primary key, name text not null, body oid not null);
create temp table made as
  select i, lo_from_bytea(0, decode(md5(i::text) || md5((i + 1)::text), 'hex')) as o from generate_series(1, 2500) i;
insert into files select i, 'file ' || i, o from made;
do $$
declare r record;
begin
  for r in select * from made where i % 5 = 0 loop execute format('alter large object %s owner to b21_app', r.o); end loop;
  for r in select * from made where i % 7 = 0 loop execute format('grant select on large object %s to b21_reader', r.o); end loop;
  for r in select * from made where i % 100 = 0 loop execute format('comment on large object %s is %L', r.o, 'number ' || r.i || E'\nsecond line'); end loop;
end $$;
select lo_create(3000000001) \g /dev/null
select lo_from_bytea(3000000002, decode(repeat('00ff5c27', 200000), 'hex')) \g /dev/null
alter large object 3000000001 owner to b21_app;
grant all on large object 3000000001 to public;
grant select on large object 3000000002 to b21_reader with grant option;
SQL
