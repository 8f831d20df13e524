"""psycopg2 with its own pool, which does not notice dead connections: who borrows one must throw it away after an error."""

import psycopg2
import psycopg2.pool

import ledger

conninfo, shown = ledger.servers(ledger.libpq)
pool = psycopg2.pool.ThreadedConnectionPool(ledger.WORKERS, ledger.WORKERS, conninfo + " application_name=psycopg2")
ledger.begin(
    f"psycopg2 {psycopg2.__version__.split()[0]}, ThreadedConnectionPool",
    f'ThreadedConnectionPool(8, 8, "{shown}"); after an error putconn(connection, close=True)',
)


def write(written_id, sent):
    connection = pool.getconn()
    failed = True
    try:
        sent()
        with connection, connection.cursor() as cursor:
            cursor.execute("insert into written (id, client) values (%s, 'psycopg2')", (written_id,))
        failed = False
    finally:
        pool.putconn(connection, close=failed)


ledger.run_threads(write)
