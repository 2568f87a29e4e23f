#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/issues/874.
# Fills the source server. PGHOST, PGPORT, PGUSER (superuser), PGPASSWORD from the environment.
set -euo pipefail
export PGCLIENTENCODING="${PGCLIENTENCODING:-UTF8}" PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
P() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
P -d postgres <<'SQL'
drop database if exists b16_ascii;
drop database if exists b16_latin1;
create database b16_ascii template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C';
create database b16_latin1 template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C';
SQL
export PGCLIENTENCODING=SQL_ASCII
P -d b16_ascii <<'SQL'
create table letters (id int primary key, body text not null);
insert into letters values (1, E'caf\351'), (2, E'\377\376'), (3, E'na\303\257ve'), (4, 'plain'), (5, E'tab\tback\\slash');
insert into letters select i, E'stra\337e ' || i from generate_series(10, 500) i;
create index letters_body on letters (body);
SQL
printf 'create table "stra\337e" (id int primary key, "gr\366\337e" int);\ninsert into "stra\337e" select i, i * 2 from generate_series(1, 160) i;\ncreate index "stra\337e_idx" on "stra\337e" ("gr\366\337e");\ncomment on table "stra\337e" is '"'"'f\374r alle'"'"';\n' \
  | P -d b16_ascii
export PGCLIENTENCODING=UTF8
printf 'create table "stra\303\237e" (id int primary key, "gr\303\266\303\237e" text);\ninsert into "stra\303\237e" select i, '"'"'f\303\274r '"'"' || i from generate_series(1, 170) i;\n' \
  | P -d b16_latin1
