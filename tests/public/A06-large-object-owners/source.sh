#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/issues/1027.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE ROLE a06_archivist LOGIN;
CREATE ROLE a06_reader LOGIN;
CREATE DATABASE a06_blobs;
SQL
q a06_blobs <<'SQL'
CREATE TABLE scan (id int PRIMARY KEY, content oid NOT NULL);
-- contents of several pages
SELECT lo_from_bytea((960000 + i)::oid, decode(repeat(md5(i::text), 100 * (1 + i % 5)), 'hex')) FROM generate_series(1, 40) i \g /dev/null
-- empty, and with a hole
SELECT lo_create(960100) \g /dev/null
SELECT lo_create(960101) \g /dev/null
SELECT lo_put(960101, 1000000, 'end'::bytea) \g /dev/null
INSERT INTO scan SELECT row_number() OVER (ORDER BY oid), oid FROM pg_largeobject_metadata;
SELECT format('ALTER LARGE OBJECT %s OWNER TO a06_archivist', oid) FROM pg_largeobject_metadata WHERE oid::bigint % 2 = 0 \gexec
SELECT format('GRANT SELECT ON LARGE OBJECT %s TO a06_reader', oid) FROM pg_largeobject_metadata WHERE oid::bigint % 3 = 0 \gexec
GRANT SELECT, UPDATE ON LARGE OBJECT 960100 TO a06_reader WITH GRANT OPTION;
COMMENT ON LARGE OBJECT 960101 IS 'has a hole; it''s on purpose';
SQL
