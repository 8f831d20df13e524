-- What a cutover needs on the primary, and nothing else: the roles of exporter and agent, and the table that the agent
-- proves the new primary with. Physical replication carries all of it to the replica. Running it again changes nothing
-- but the passwords, which become the given ones. On a pair of your own, as superuser, with the secrets out of argv:
--
--   psql -d postgres <<'END'
--   \set database shop
--   \set database_owner shop_owner
--   \set monitor_password `cat monitor.pw`
--   \set agent_password `cat agent.pw`
--   \i postgresql/roles.sql
--   END

\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';
-- The statements below contain passwords: keep them out of the server's log, whatever it is told to log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';

SELECT format('CREATE ROLE %I', name)
  FROM (VALUES ('pgrm_monitor'), ('pgrm_agent')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name)
\gexec

-- What the exporter logs in as: sees all statistics, and no data.
ALTER ROLE pgrm_monitor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'monitor_password';
GRANT pg_monitor TO pgrm_monitor;

-- What the agent logs in as: everything that a cutover does, and nothing else.
-- REPLICATION: a standby of the new primary needs a slot there, which only such a role may create (--demote standby).
ALTER ROLE pgrm_agent LOGIN REPLICATION NOCREATEDB NOCREATEROLE PASSWORD :'agent_password';
GRANT pg_monitor TO pgrm_agent;         -- sees every session, slot and setting
GRANT pg_signal_backend TO pgrm_agent;  -- fence: ends the sessions that are left
-- Fence: the database's owner may close it, and the fence is then attacked in that role. A superuser's rights are not
-- given away for that: without them the fence is read-only.
SELECT rolsuper AS owned_by_superuser FROM pg_catalog.pg_roles WHERE rolname = :'database_owner'
\gset
\if :owned_by_superuser
  \warn 'NOTICE:  the owner of' :database 'is a superuser: not granted to pgrm_agent, whose fence will be read-only (ALTER DATABASE ... OWNER TO a role of its own makes it a closed one)'
\else
  GRANT :"database_owner" TO pgrm_agent;
\endif
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgrm_agent;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO pgrm_agent;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO pgrm_agent;  -- align_wal: a promotion with no WAL segment to copy

SELECT current_setting('server_version_num')::int >= 150000 AS has_granular_rights
\gset
\if :has_granular_rights
  ALTER ROLE pgrm_agent NOSUPERUSER;
  GRANT pg_checkpoint TO pgrm_agent;    -- prepare: a promotion right after a checkpoint has little to do
  GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only, synchronous_standby_names TO pgrm_agent;  -- fence, wedge
  GRANT ALTER SYSTEM ON PARAMETER wal_init_zero TO pgrm_agent;  -- align_wal, on the future primary
  GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO pgrm_agent;  -- other standbys follow the new primary
\else
  ALTER ROLE pgrm_agent SUPERUSER;
  SET client_min_messages = notice;
  DO $$ BEGIN
    RAISE NOTICE 'pgrm_agent is a superuser: PostgreSQL % cannot grant ALTER SYSTEM or CHECKPOINT to anybody else (15 and later can)',
      current_setting('server_version');
  END $$;
  SET client_min_messages = warning;
\endif

-- The new primary proves in the application's own database that it takes writes.
\connect :"database"
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS pgrm AUTHORIZATION pgrm_agent;
SET ROLE pgrm_agent;
CREATE TABLE IF NOT EXISTS pgrm.cutover_probe (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cutover    text NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- The fence is attacked in the application's role.
GRANT USAGE ON SCHEMA pgrm TO :"database_owner";
GRANT INSERT ON pgrm.cutover_probe TO :"database_owner";
