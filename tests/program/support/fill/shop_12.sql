-- What came with version 12.
SET ROLE app_owner;
CREATE TABLE sales.boxes (w int, h int, area int GENERATED ALWAYS AS (w * h) STORED);
INSERT INTO sales.boxes SELECT i, i + 1 FROM generate_series(1, 100) i;
CREATE TABLE sales.event_notes (event bigint REFERENCES sales.events, note text);
INSERT INTO sales.event_notes SELECT i, 'note ' || i FROM generate_series(1, 100) i;
RESET ROLE;
