#!/usr/bin/env bash
# After https://github.com/aiven/aiven-extras/issues/60.
# Fills a source server. PGHOST, PGPORT, PGUSER (a superuser) and PGPASSWORD come from the environment.
set -euo pipefail
q() { psql -X -q -v ON_ERROR_STOP=1 -d "$1"; }   # SQL on stdin
q postgres <<'SQL'
CREATE DATABASE a14_login;
CREATE DATABASE a14_careful;
SQL
# the trigger of a14_careful leaves sessions alone that may not write; that of a14_login refuses them
for db in a14_login a14_careful; do
q $db <<SQL
CREATE FUNCTION can_write() RETURNS boolean LANGUAGE sql AS \$\$ SELECT NOT pg_catalog.pg_is_in_recovery()
    AND ('$db' = 'a14_login' OR pg_catalog.current_setting('transaction_read_only') = 'off') \$\$;
SQL
q $db <<'SQL'
CREATE TABLE login_log (id bigserial PRIMARY KEY, who text NOT NULL, app text, server_port int, at timestamptz NOT NULL DEFAULT now());
INSERT INTO login_log (who, app, server_port) SELECT 'seed', 'seed', 0 FROM generate_series(1, 100);
CREATE TABLE booking (id int PRIMARY KEY, seat int);
INSERT INTO booking SELECT i, i % 30 FROM generate_series(1, 300) i;
CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    IF public.can_write() THEN
        INSERT INTO public.login_log (who, app, server_port)
        VALUES (session_user, current_setting('application_name'), current_setting('port')::int);
    END IF;
END $$;
CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION note_login();
ALTER EVENT TRIGGER note_login ENABLE ALWAYS;
SQL
done
