"""psycopg 3 with psycopg_pool."""

import psycopg
import psycopg_pool

import ledger

conninfo, shown = ledger.servers(ledger.libpq)
# A pooler in transaction mode loses prepared statements.
options = {"prepare_threshold": None} if ledger.through_pooler else {}
pool = psycopg_pool.ConnectionPool(
    conninfo + " application_name=psycopg",
    min_size=ledger.WORKERS,
    max_size=ledger.WORKERS,
    kwargs=options,
    check=psycopg_pool.ConnectionPool.check_connection,
    open=True,
)
ledger.begin(
    f"psycopg {psycopg.__version__}, psycopg_pool {psycopg_pool.__version__}",
    f'ConnectionPool("{shown}", check=ConnectionPool.check_connection{", kwargs=" + str(options) if options else ""})',
)


def write(written_id, sent):
    with pool.connection() as connection:
        sent()
        connection.execute("insert into written (id, client) values (%s, 'psycopg')", (written_id,))


ledger.run_threads(write)
