-- What a real pair has already: the role that the replica logs in as, the application's role and database, and the
-- replica's slot. Run by init-primary.sh, before ../roles.sql. Running it again changes nothing but the passwords.

\set ON_ERROR_STOP on
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT on
\set QUIET on

-- As for an enemy's database, like ../roles.sql: nobody's functions and operators but PostgreSQL's own are found.
SET search_path = pg_catalog, pg_temp;
SET ROLE NONE;
SET standard_conforming_strings = on;
SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';
-- The statements below contain passwords: keep them out of the server's log, whatever it is told to log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET log_transaction_sample_rate = 0;

BEGIN;
SELECT format('CREATE ROLE %I', name)
  FROM (VALUES (:'replication_user'), ('pgrm_app')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE :"replication_user" LOGIN REPLICATION PASSWORD :'replication_password';

-- What the application (here: loadgen) logs in as.
ALTER ROLE pgrm_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
COMMIT;
-- From template0, because anybody who may connect to template1 could have planted something there.
SELECT format('CREATE DATABASE %I OWNER pgrm_app TEMPLATE template0', :'database')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec
ALTER DATABASE :"database" OWNER TO pgrm_app;

-- The slot keeps the WAL that the replica has not received, from now on: no gap between base backup and streaming.
SELECT count(pg_create_physical_replication_slot(:'replication_slot', true)) AS slots_created
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'replication_slot')
\gset
