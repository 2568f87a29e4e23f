#!/usr/bin/env bash
# After https://github.com/geldata/gel/issues/8683.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b19_triggers;
create database b19_triggers;
SQL
v=$(P -At -d postgres -c "show server_version_num")
P -d b19_triggers <<'SQL'
create table customers (id int primary key);
create table orders (id int primary key, customer int not null references customers, note text not null, changed int not null default 0);
create table audit (id serial primary key, what text not null);
create table audit_replica (id serial primary key, what text not null);
create function log_it() returns trigger language plpgsql as $f$ begin insert into audit (what) values (tg_name || new.id); return null; end $f$;
create function log_replica() returns trigger language plpgsql as $f$ begin insert into audit_replica (what) values (tg_name || new.id); return null; end $f$;
create function touch() returns trigger language plpgsql as $f$ begin new.changed := new.changed + 1; return new; end $f$;
create trigger a_origin after insert on orders for each row execute procedure log_it();
create trigger b_disabled after insert on orders for each row execute procedure log_it();
create trigger c_always after insert on orders for each row execute procedure log_it();
create trigger d_replica after insert on orders for each row execute procedure log_replica();
create trigger e_touch before insert on orders for each row execute procedure touch();
create constraint trigger f_deferred after insert on orders deferrable initially deferred for each row execute procedure log_it();
alter table orders disable trigger b_disabled;
alter table orders enable always trigger c_always;
alter table orders enable replica trigger d_replica;
alter table orders enable always trigger e_touch;
insert into customers select generate_series(1, 50);
insert into orders (id, customer, note) select i, 1 + i % 50, 'order ' || i from generate_series(1, 190) i;
create index orders_note on orders (note);
SQL
if [ "$v" -ge 130000 ]; then P -d b19_triggers <<'SQL'
create table parts (id int not null, part int not null) partition by list (part);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
create trigger p_log after insert on parts for each row execute procedure log_it();
insert into parts select i, 1 + i % 2 from generate_series(1, 20) i;
alter table parts_2 disable trigger p_log;
alter table parts_1 enable always trigger p_log;
SQL
fi
