-- What must always be true of the shop is made true here, by keys and triggers, and not by the programs that write: stock is
-- never negative (a check in schema.sql); subtotal (generated there), total_amount and updated_at are right; every changed
-- row has its row in audit_log. Run once, in one transaction, when the seed is complete; all of it is on disk then.

SET LOCAL synchronous_commit = on;

ALTER TABLE users       ADD PRIMARY KEY (id), ADD UNIQUE (username), ADD UNIQUE (email);
ALTER TABLE products    ADD PRIMARY KEY (id), ADD UNIQUE (sku);
ALTER TABLE orders      ADD PRIMARY KEY (id);
ALTER TABLE order_items ADD PRIMARY KEY (id), ADD UNIQUE (order_id, product_id);
ALTER TABLE audit_log   ADD PRIMARY KEY (id);

ALTER TABLE orders      ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE order_items ADD FOREIGN KEY (order_id) REFERENCES orders, ADD FOREIGN KEY (product_id) REFERENCES products;

CREATE INDEX users_active        ON users (id) WHERE deleted_at IS NULL;
CREATE INDEX products_category   ON products (category);
CREATE INDEX orders_user         ON orders (user_id);
CREATE INDEX order_items_product ON order_items (product_id);
CREATE INDEX audit_log_row       ON audit_log (row_id, table_name);

ALTER TABLE users       RESET (autovacuum_enabled);
ALTER TABLE products    RESET (autovacuum_enabled);
ALTER TABLE orders      RESET (autovacuum_enabled);
ALTER TABLE order_items RESET (autovacuum_enabled);
ALTER TABLE audit_log   RESET (autovacuum_enabled);

-- updated_at: set by every UPDATE.

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END $$;

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users       FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON products    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON orders      FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON order_items FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- total_amount: an order is never written with another total than the sum of its items ...

CREATE FUNCTION set_total_amount() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.total_amount := COALESCE((SELECT sum(subtotal) FROM order_items WHERE order_id = NEW.id), 0);
  RETURN NEW;
END $$;

CREATE TRIGGER set_total_amount BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION set_total_amount();

-- ... and is written whenever its items change. Locked first and in the order of their ids, so that the sums are taken when
-- nobody else changes them, and so that two such statements cannot deadlock. An order whose items were inserted before it,
-- in the same statement, has its total already.

CREATE FUNCTION update_total_amount() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  touched bigint[];
BEGIN
  IF TG_OP = 'UPDATE' THEN
    touched := ARRAY(SELECT order_id FROM old_rows UNION SELECT order_id FROM new_rows);
  ELSIF TG_OP = 'INSERT' THEN
    touched := ARRAY(SELECT DISTINCT order_id FROM new_rows);
  ELSE
    touched := ARRAY(SELECT DISTINCT order_id FROM old_rows);
  END IF;
  PERFORM FROM orders WHERE id = ANY (touched) ORDER BY id FOR NO KEY UPDATE;
  UPDATE orders o SET total_amount = DEFAULT
   WHERE id = ANY (touched)
     AND total_amount IS DISTINCT FROM COALESCE((SELECT sum(subtotal) FROM order_items WHERE order_id = o.id), 0);
  RETURN NULL;
END $$;

CREATE TRIGGER update_total_amount_insert AFTER INSERT ON order_items
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION update_total_amount();
CREATE TRIGGER update_total_amount_update AFTER UPDATE ON order_items
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION update_total_amount();
CREATE TRIGGER update_total_amount_delete AFTER DELETE ON order_items
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION update_total_amount();

-- audit_log: one row for every row that a statement inserted, updated or deleted.

CREATE FUNCTION write_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit_log (table_name, operation, row_id, changed_at)
  SELECT TG_TABLE_NAME, TG_OP, id, CASE TG_OP WHEN 'DELETE' THEN now() ELSE updated_at END FROM changed_rows;
  RETURN NULL;
END $$;

DO $$
DECLARE
  audited text;
BEGIN
  FOREACH audited IN ARRAY ARRAY['users', 'products', 'orders', 'order_items'] LOOP
    EXECUTE pg_catalog.format('CREATE TRIGGER audit_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION write_audit_log()', audited);
    EXECUTE pg_catalog.format('CREATE TRIGGER audit_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION write_audit_log()', audited);
    EXECUTE pg_catalog.format('CREATE TRIGGER audit_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION write_audit_log()', audited);
  END LOOP;
END $$;

UPDATE loadgen_database SET guarded = true;
