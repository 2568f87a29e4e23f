-- Roles with and without login, with attributes, memberships, settings and comments.
-- @APP@ and @ODD@ stand for passwords.
CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_rw LOGIN PASSWORD @APP@ CONNECTION LIMIT 20 VALID UNTIL '2099-12-31 00:00:00+00';
CREATE ROLE app_ro NOLOGIN NOINHERIT;
CREATE ROLE "Weird ""Role""" LOGIN PASSWORD @ODD@ CREATEDB;
CREATE ROLE role_admin CREATEROLE NOLOGIN;
GRANT app_owner TO app_rw;
GRANT app_ro TO "Weird ""Role""" WITH ADMIN OPTION;
GRANT app_ro TO app_rw;
GRANT pg_monitor TO app_ro;
ALTER ROLE app_rw SET statement_timeout = '2h';
ALTER ROLE app_ro SET search_path = 'sales', '"$user"', 'public';
COMMENT ON ROLE app_owner IS 'owns what the application''s tables are; logs in never';
