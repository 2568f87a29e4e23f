-- What came with version 14.
CREATE TABLE sales.closures (days datemultirange);
INSERT INTO sales.closures VALUES ('{[2024-12-24,2024-12-27),[2025-01-01,2025-01-02)}');
CREATE FUNCTION sales.double(i int) RETURNS int LANGUAGE sql RETURN i * 2;
