-- Run once by the source's container: two databases with three tables each.
\set ON_ERROR_STOP on

CREATE ROLE app_owner NOLOGIN;
CREATE DATABASE pdb1 OWNER app_owner;
CREATE DATABASE pdb2 OWNER app_owner;

\connect pdb1
SET ROLE app_owner;
CREATE TABLE table1 (id serial PRIMARY KEY, word text NOT NULL);
CREATE TABLE table2 (id serial PRIMARY KEY, first int REFERENCES table1, at timestamptz DEFAULT now());
CREATE TABLE table3 (id bigserial PRIMARY KEY, word text NOT NULL, value float8);
CREATE INDEX table3_word ON table3 (word);
CREATE INDEX table3_value ON table3 (value);
INSERT INTO table1 (word) SELECT md5(i::text) FROM generate_series(1, 10000) i;
INSERT INTO table2 (first) SELECT 1 + i % 10000 FROM generate_series(1, 20000) i;
INSERT INTO table3 (word, value) SELECT md5(i::text), i / 7.0 FROM generate_series(1, 200000) i;

\connect pdb2
SET ROLE app_owner;
CREATE TABLE table1 (id serial PRIMARY KEY, word text NOT NULL);
CREATE TABLE table2 (id serial PRIMARY KEY, word text NOT NULL);
CREATE TABLE other (id int PRIMARY KEY);
CREATE INDEX table1_word ON table1 (word);
CREATE INDEX table2_word ON table2 (word);
INSERT INTO table1 (word) SELECT md5(i::text) FROM generate_series(1, 100000) i;
INSERT INTO table2 (word) SELECT md5(i::text) FROM generate_series(1, 100000) i;
INSERT INTO other SELECT generate_series(1, 1000);
