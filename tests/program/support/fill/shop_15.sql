-- What came with version 15.
CREATE TABLE sales.at_most_one_null (v int UNIQUE NULLS NOT DISTINCT);
INSERT INTO sales.at_most_one_null VALUES (1), (NULL);
CREATE VIEW sales.as_invoker WITH (security_invoker) AS SELECT id FROM sales.orders;
