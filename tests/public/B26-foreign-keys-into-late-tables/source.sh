#!/usr/bin/env bash
# After https://github.com/OPMDG/opm-doc/issues/16.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b26_keys;
create database b26_keys;
SQL
P -d b26_keys <<'SQL'
create table customers (id int primary key, code text not null unique);
create table invoices (id int primary key, customer int not null references customers on delete restrict, code text references customers (code) on update cascade);
create table tree (id int primary key, parent int references tree deferrable initially deferred, label text not null);
create table left_side (id int primary key, r int);
create table right_side (id int primary key, l int not null references left_side);
insert into customers select i, 'c' || i from generate_series(1, 500) i;
insert into invoices select i, 1 + i % 500, 'c' || 1 + i % 500 from generate_series(1, 2600) i;
insert into tree select i, 1 + (i * 7) % 299, 'node ' || i from generate_series(1, 299) i;
insert into left_side select i, i from generate_series(1, 90) i;
insert into right_side select i, i from generate_series(1, 90) i;
alter table left_side add constraint left_r_fk foreign key (r) references right_side;
create index tree_label on tree (label);
SQL
