-- What applications work on while a server is migrated, in every database of the campaign. hand_log tells which of their
-- transactions a state holds.
SET default_transaction_read_only = off;
CREATE TABLE public.hand_log (n int PRIMARY KEY, what text);
CREATE TABLE public.hand_rows (id int PRIMARY KEY, word text);
INSERT INTO public.hand_rows SELECT i, 'row ' || i FROM generate_series(1, 3000) i;
CREATE TABLE public.hand_reload AS SELECT i AS id, 'first ' || i AS word FROM generate_series(1, 2000) i;
CREATE TABLE public.hand_rewrite AS SELECT i AS id, i::varchar(50) AS word FROM generate_series(1, 500) i;
CREATE TABLE public.hand_ddl AS SELECT i AS id FROM generate_series(1, 300) i;
CREATE TABLE public.hand_parents (id int PRIMARY KEY);
INSERT INTO public.hand_parents SELECT generate_series(1, 50);
-- Delayed. Which transactions they hold, later_hand tells.
CREATE TABLE public.later_hand (id bigserial PRIMARY KEY, n int NOT NULL UNIQUE);
CREATE TABLE public.later_reload AS SELECT i AS id, 'first ' || i AS word FROM generate_series(1, 2000) i;
CREATE TABLE public.later_children (id int PRIMARY KEY, parent int REFERENCES public.hand_parents);
INSERT INTO public.later_children SELECT i, i FROM generate_series(1, 50) i;
CREATE INDEX ON public.later_children (parent);
