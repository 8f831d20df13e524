-- What a cutover needs on the primary, and nothing else: the roles of exporter and agent, and the table that the agent
-- proves the new primary with. Physical replication carries all of it to the replica. On a pair of your own, as superuser in
-- the database `postgres` (or in another one without an application: exporter and agent need its name as MAINTENANCE_DB),
-- with the secrets out of argv:
--
--   psql -d postgres <<'END'
--   \set database shop
--   \set database_owner shop_owner
--   \set monitor_password `cat monitor.pw`
--   \set agent_password `cat agent.pw`
--   \i postgresql/roles.sql
--   END
--
-- It says in one line why it refuses, with exit status 3, and has then changed nothing. Running it again changes nothing but
-- the passwords, which become the given ones; without a line for it, a password stays as it is.
--
-- It is written as for an enemy's database: nobody's functions, operators, types or tables but PostgreSQL's own are found in
-- these sessions, no setting of a role or database reaches them, and what is there already is looked at before it is used.

\set ON_ERROR_STOP on
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT on
\set QUIET on
\set SHOW_CONTEXT never

SET search_path = pg_catalog, pg_temp;
SET ROLE NONE;
SET standard_conforming_strings = on;
SET client_min_messages = warning;

-- --- Whether it can be done: looked at here, before anything is touched -----------------------------------------------

\if :{?database}
\else
  \set database ''
\endif
\if :{?database_owner}
\else
  \set database_owner ''
\endif
\set monitor_password_given :{?monitor_password}
\if :monitor_password_given
\else
  \set monitor_password 'as it is'
\endif
\set agent_password_given :{?agent_password}
\if :agent_password_given
\else
  \set agent_password 'as it is'
\endif
\set refuse 'DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = current_setting(''pgrm.refusal''), HINT = current_setting(''pgrm.hint''); END $$;'

-- The rows that apply, the first of them first. An event trigger is made by a superuser, but its function may be another's.
WITH target AS (SELECT d.datname, o.rolname AS owner FROM pg_database AS d JOIN pg_roles AS o ON o.oid = d.datdba
                 WHERE d.datname = :'database'),
     refusal AS (SELECT * FROM (VALUES
  (1, current_setting('is_superuser') <> 'on', format('"%s" is no superuser', session_user), 'run it as a superuser: psql -U postgres'),
  (2, pg_is_in_recovery(), 'this server is a standby', 'run it on the primary: replication carries it over'),
  (3, :'database' = '', 'database is not set', '\set database to the name of the application''s database'),
  (4, current_database() IN ('template0', 'template1'), format('connected to "%s", which is a template', current_database()),
      'psql -d postgres'),
  (5, :'database' = current_database(), format('database is "%s", to which you are connected: the agent works over another one', :'database'),
      'psql -d postgres; if that is the application''s database, give the application one of its own'),
  (6, NOT EXISTS (SELECT FROM target), format('database "%s" does not exist', :'database'), '\l lists them'),
  (7, :'database_owner' = '', 'database_owner is not set',
      format('\set database_owner to the role that owns it: "%s"', (SELECT owner FROM target))),
  (8, NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'database_owner'), format('role "%s" does not exist', :'database_owner'),
      format('the owner of database "%s" is "%s"', :'database', (SELECT owner FROM target))),
  (9, NOT EXISTS (SELECT FROM target WHERE owner = :'database_owner'),
      format('database "%s" belongs to "%s", not to "%s"', :'database', (SELECT owner FROM target), :'database_owner'),
      'name its owner, or ALTER DATABASE ... OWNER TO the role that you meant'),
  (10, :'monitor_password' = '', 'monitor_password is empty', 'look at the file that it is read from; without that line it stays as it is'),
  (11, :'agent_password' = '', 'agent_password is empty', 'look at the file that it is read from; without that line it stays as it is'),
  (12, true, (SELECT format('"%s" is a member of "%s", and would have all of its rights', m.rolname, r.rolname)
                FROM pg_auth_members AS a JOIN pg_roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
               WHERE r.rolname IN ('pgrm_monitor', 'pgrm_agent') AND NOT m.rolsuper ORDER BY m.rolname, r.rolname LIMIT 1),
       'REVOKE that role, or drop both roles if somebody else made them'),
  (13, true, (SELECT format('event trigger "%s" of database "%s" runs a function of "%s", who is no superuser', e.evtname, current_database(), o.rolname)
                FROM pg_event_trigger AS e JOIN pg_proc AS p ON p.oid = e.evtfoid JOIN pg_roles AS o ON o.oid = p.proowner
               WHERE e.evtenabled <> 'D' AND NOT o.rolsuper ORDER BY e.evtname LIMIT 1),
       'ALTER EVENT TRIGGER ... DISABLE, or ALTER FUNCTION ... OWNER TO a superuser who has read it')
  ) AS refusal (rank, applies, message, hint) WHERE applies AND message IS NOT NULL ORDER BY rank LIMIT 1)
SELECT set_config('pgrm.refusal', coalesce((SELECT regexp_replace(message, '[[:cntrl:]]', '?', 'g') FROM refusal), ''), false) <> '' AS refused,
       set_config('pgrm.hint', coalesce((SELECT hint FROM refusal), ''), false) AS hint
\gset
\if :refused
  :refuse
\endif

-- What login options say beats what ALTER DATABASE and ALTER ROLE have set. A login event trigger (17+) would run before any
-- statement.
SELECT current_setting('server_version_num')::integer >= 150000 AS has_granular_rights,
       current_setting('server_version') AS server_version,
       '-c search_path=pg_catalog,pg_temp -c role=none -c standard_conforming_strings=on -c client_min_messages=warning'
       || ' -c statement_timeout=0 -c lock_timeout=10s -c default_tablespace= -c password_encryption=scram-sha-256'
       || CASE WHEN current_setting('server_version_num')::integer >= 170000 THEN ' -c event_triggers=off' ELSE '' END AS options
\gset
SELECT format('dbname=''%s'' options=''%s''', replace(replace(:'database', '\', '\\'), '''', '\'''), :'options') AS application,
       current_database() AS home_database,
       format('dbname=''%s'' options=''%s''', replace(replace(current_database(), '\', '\\'), '''', '\'''), :'options') AS home,
       -- A superuser's rights are not given away with the ownership: then the fence is read-only.
       EXISTS (SELECT FROM pg_roles WHERE rolsuper AND pg_has_role(:'database_owner', oid, 'MEMBER')) AS owned_by_superuser
\gset

-- --- In the application's database: everything but the rights on functions, in one transaction -------------------------

\connect -reuse-previous=on :application
-- The statements below contain passwords: keep them out of the server's log, whatever it is told to log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET log_transaction_sample_rate = 0;

-- What is wrong with the table that the agent writes to, as sentences in a JSON array: a role that could put code behind it would
-- have it run as the agent. For a session that finds pg_catalog only. The agent asks the same (preflight, probe_table).
PREPARE judgement AS
-- judgement: begin
WITH trusted AS (SELECT oid FROM pg_roles AS r
                  WHERE rolsuper OR rolname = current_user
                     -- The agent may run as another role. A role that had made this one would be its member (16+).
                     OR rolname = 'pgrm_agent' AND pg_has_role(oid, 'pg_signal_backend', 'MEMBER')
                        AND NOT EXISTS (SELECT FROM pg_auth_members AS a JOIN pg_roles AS m ON m.oid = a.member
                                         WHERE a.roleid = r.oid AND NOT m.rolsuper)),
     home AS (SELECT * FROM pg_namespace WHERE nspname = 'pgrm'),
     probe AS (SELECT c.* FROM pg_class AS c JOIN home ON home.oid = c.relnamespace WHERE c.relname = 'cutover_probe'),
     ordinary AS (SELECT * FROM probe WHERE relkind = 'r' AND relpersistence = 'p' AND NOT relispartition AND reloftype = 0),
     owned AS (SELECT 1 AS part, 'schema pgrm' AS name, nspowner AS owner, nspacl AS acl, 'CREATE' AS privilege, 'create in' AS may
                 FROM home
               UNION ALL SELECT 2, 'pgrm.cutover_probe', relowner, relacl, 'TRIGGER', 'add triggers to' FROM probe)
SELECT coalesce(json_agg(regexp_replace(problem, '[[:cntrl:]]', '?', 'g') ORDER BY rank, problem), '[]') AS problems
  FROM (
    SELECT part, format('%s belongs to "%s"', name, pg_get_userbyid(owner)) FROM owned WHERE owner NOT IN (SELECT oid FROM trusted)
    UNION ALL
    SELECT 2 + part, format('%s may %s %s', coalesce('"' || r.rolname || '"', 'everybody'), may, name)
      FROM owned, aclexplode(acl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
     WHERE a.privilege_type = privilege AND a.grantee <> owner AND a.grantee NOT IN (SELECT oid FROM trusted)
    UNION ALL
    SELECT 5, 'pgrm.cutover_probe is not an ordinary table of its own' FROM probe
     WHERE oid NOT IN (SELECT oid FROM ordinary)
    UNION ALL
    SELECT 6, format('its columns are %s', columns) FROM (
      SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), 'identity ' || nullif(a.attidentity::text, ''),
                                  'generated ' || nullif(a.attgenerated::text, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attnum)
        FROM ordinary JOIN pg_attribute AS a ON a.attrelid = ordinary.oid LEFT JOIN pg_attrdef AS d ON d.adrelid = ordinary.oid AND d.adnum = a.attnum
       WHERE a.attnum > 0 AND NOT a.attisdropped) AS found (columns)
     WHERE columns <> 'id bigint identity a, cutover text, written_at timestamp with time zone default clock_timestamp()'
    UNION ALL
    SELECT 7, format('it has a trigger, "%s"', t.tgname) FROM ordinary JOIN pg_trigger AS t ON t.tgrelid = ordinary.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 8, format('it has a rule, "%s"', r.rulename) FROM ordinary JOIN pg_rewrite AS r ON r.ev_class = ordinary.oid
    UNION ALL
    SELECT 9, 'it has row security' FROM ordinary WHERE relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = ordinary.oid)
    UNION ALL
    SELECT 10, format('it has a constraint, "%s"', c.conname) FROM ordinary JOIN pg_constraint AS c ON ordinary.oid IN (c.conrelid, c.confrelid)
     WHERE c.contype NOT IN ('p', 'n', 't')
    UNION ALL
    SELECT 11, format('it has an index, "%s"', pg_get_indexdef(i.indexrelid)) FROM ordinary JOIN pg_index AS i ON i.indrelid = ordinary.oid
     WHERE NOT i.indisprimary
    UNION ALL
    SELECT 12, format('it has statistics, "%s"', s.stxname) FROM ordinary JOIN pg_statistic_ext AS s ON s.stxrelid = ordinary.oid
    UNION ALL
    SELECT 13, format('it takes part in inheritance, with "%s"', (CASE ordinary.oid WHEN i.inhparent THEN i.inhrelid ELSE i.inhparent END)::regclass)
      FROM ordinary JOIN pg_inherits AS i ON ordinary.oid IN (i.inhparent, i.inhrelid)
    UNION ALL
    SELECT 14, format('event trigger "%s" runs a function of "%s"', e.evtname, pg_get_userbyid(p.proowner))
      FROM pg_event_trigger AS e JOIN pg_proc AS p ON p.oid = e.evtfoid
     WHERE e.evtenabled <> 'D' AND p.proowner NOT IN (SELECT oid FROM trusted)
  ) AS found (rank, problem)
-- judgement: end
;

BEGIN;

SELECT format('CREATE ROLE %I', name) FROM (VALUES ('pgrm_monitor'), ('pgrm_agent')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

SET LOCAL ROLE pgrm_agent;
EXECUTE judgement
\gset
SET LOCAL ROLE NONE;
SELECT :'problems' <> '[]' AS refused,
       set_config('pgrm.refusal', format('in database "%s": %s', :'database',
         (SELECT string_agg(value, '; ') FROM json_array_elements_text(:'problems'))), true) AS refusal,
       set_config('pgrm.hint', CASE
         WHEN :'problems' LIKE '["event trigger%' THEN 'ALTER EVENT TRIGGER ... DISABLE, or ALTER FUNCTION ... OWNER TO a superuser who has read it'
         WHEN :'problems' LIKE '["% may %' THEN 'REVOKE that right'
         ELSE 'this script did not make it like that. ALTER SCHEMA pgrm RENAME TO ... keeps it out of the way; then run this again' END, true) AS hint
\gset
\if :refused
  :refuse
\endif

-- What the exporter logs in as: sees all statistics, and no data.
ALTER ROLE pgrm_monitor LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\if :monitor_password_given
  ALTER ROLE pgrm_monitor PASSWORD :'monitor_password';
\endif
GRANT pg_monitor TO pgrm_monitor;

-- What the agent logs in as: everything that a cutover does, and nothing else.
-- REPLICATION: a standby of the new primary needs a slot there, which only such a role may create (--demote standby).
ALTER ROLE pgrm_agent LOGIN INHERIT REPLICATION NOCREATEDB NOCREATEROLE NOBYPASSRLS;
\if :agent_password_given
  ALTER ROLE pgrm_agent PASSWORD :'agent_password';
\endif
GRANT pg_monitor TO pgrm_agent;         -- sees every session, slot and setting
GRANT pg_signal_backend TO pgrm_agent;  -- fence: ends the sessions that are left
-- Fence: the database's owner may close it, and the fence is then attacked in that role.
\if :owned_by_superuser
  \warn 'NOTICE:  the owner of' :database 'has the rights of a superuser: not granted to pgrm_agent, whose fence will be read-only (ALTER DATABASE ... OWNER TO a role of its own makes it a closed one)'
\else
  GRANT :"database_owner" TO pgrm_agent;
\endif

\if :has_granular_rights
  ALTER ROLE pgrm_agent NOSUPERUSER;
  GRANT pg_checkpoint TO pgrm_agent;    -- prepare: a promotion right after a checkpoint has little to do
  GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only, synchronous_standby_names TO pgrm_agent;  -- fence, wedge
  GRANT ALTER SYSTEM ON PARAMETER wal_init_zero TO pgrm_agent;  -- replica_settings, on the future primary
  GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO pgrm_agent;  -- other standbys follow the new primary
  GRANT SET ON PARAMETER pgrm.cutover TO pgrm_agent;               -- the marker: which cutover is under way, and where
\else
  ALTER ROLE pgrm_agent SUPERUSER;
  \warn 'NOTICE:  pgrm_agent is a superuser: PostgreSQL' :server_version 'cannot grant ALTER SYSTEM or CHECKPOINT to anybody else (15 and later can)'
\endif

-- The new primary proves in the application's own database that it takes writes. Schema and table are the agent's own: the
-- database's owner can neither change nor drop them.
SELECT to_regnamespace('pgrm') IS NULL AS lacks_schema, to_regclass('pgrm.cutover_probe') IS NULL AS lacks_table
\gset
\if :lacks_schema
  CREATE SCHEMA pgrm;
\endif
ALTER SCHEMA pgrm OWNER TO pgrm_agent;
SET LOCAL ROLE pgrm_agent;
\if :lacks_table
  CREATE TABLE pgrm.cutover_probe (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cutover    text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
  );
\endif
SET LOCAL ROLE NONE;
ALTER TABLE pgrm.cutover_probe OWNER TO pgrm_agent;
-- agent warm loads the new primary's buffers with pg_prewarm where that is installed; pg_monitor may call pg_buffercache.
SELECT coalesce((SELECT format('USAGE ON SCHEMA %I TO pgrm_agent; GRANT EXECUTE ON FUNCTION %s', n.nspname, p.oid::regprocedure)
                   FROM pg_extension AS e JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                        JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                        JOIN pg_language AS l ON l.oid = p.prolang JOIN pg_roles AS o ON o.oid = p.proowner
                        JOIN pg_namespace AS n ON n.oid = p.pronamespace
                  WHERE e.extname = 'pg_prewarm' AND d.deptype = 'e' AND p.proname = 'pg_prewarm' AND l.lanname = 'c' AND o.rolsuper),
                '') AS prewarm
\gset
SELECT :'prewarm' <> '' AS has_prewarm
\gset
\if :has_prewarm
  GRANT :prewarm TO pgrm_agent;
\endif
-- The fence is attacked in the application's role.
GRANT USAGE ON SCHEMA pgrm TO :"database_owner";
GRANT INSERT ON pgrm.cutover_probe TO :"database_owner";

COMMIT;

-- --- In the agent's database: rights on functions belong to one --------------------------------------------------------

\connect -reuse-previous=on :home
BEGIN;
GRANT CONNECT ON DATABASE :"home_database", :"database" TO pgrm_agent;
GRANT CONNECT ON DATABASE :"home_database" TO pgrm_monitor;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgrm_agent;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO pgrm_agent;
-- A fence that stands in the configuration only, not in effect yet.
GRANT SELECT ON pg_catalog.pg_file_settings TO pgrm_agent;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO pgrm_agent, pgrm_monitor;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO pgrm_agent;  -- align_wal: a promotion with no WAL segment to copy
COMMIT;
