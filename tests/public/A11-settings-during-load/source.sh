#!/usr/bin/env bash
# After https://github.com/dimitri/pgcopydb/pull/491.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE DATABASE a11_views;
ALTER DATABASE a11_views SET timezone = 'Pacific/Auckland';
ALTER DATABASE a11_views SET default_text_search_config = 'pg_catalog.german';
ALTER DATABASE a11_views SET shop.tax = '0.15';
CREATE DATABASE a11_checks;
ALTER DATABASE a11_checks SET timezone = 'Pacific/Auckland';
ALTER DATABASE a11_checks SET shop.region = 'south';
SQL
q a11_views <<'SQL'
CREATE TABLE sale (id int PRIMARY KEY, at timestamptz NOT NULL, amount numeric NOT NULL, body text NOT NULL);
INSERT INTO sale SELECT i, timestamptz '2024-03-01 00:00:00+00' + i * interval '47 minutes', i, 'die Hunde und der alte Mann ' || i % 5
FROM generate_series(1, 2000) i;
CREATE INDEX sale_at ON sale (at);
CREATE MATERIALIZED VIEW sale_by_day AS SELECT at::date AS day, count(*) AS n, sum(amount) AS total FROM sale GROUP BY 1;
CREATE MATERIALIZED VIEW sale_taxed AS SELECT id, amount * (1 + current_setting('shop.tax', true)::numeric) AS gross FROM sale;
CREATE MATERIALIZED VIEW sale_words AS SELECT id, to_tsvector(body) AS words FROM sale;
SQL
q a11_checks <<'SQL'
CREATE TABLE entry (id int PRIMARY KEY, at timestamptz NOT NULL, day date NOT NULL, CONSTRAINT entry_day CHECK (day = at::date));
INSERT INTO entry SELECT i, t, t::date FROM generate_series(1, 500) i CROSS JOIN LATERAL (SELECT timestamptz '2024-03-01 00:00:00+00' + i * interval '47 minutes' AS t) x;
CREATE TABLE parcel (id int PRIMARY KEY, region text NOT NULL, CONSTRAINT parcel_region CHECK (region = current_setting('shop.region')));
INSERT INTO parcel SELECT i, 'south' FROM generate_series(1, 100) i;
SQL
