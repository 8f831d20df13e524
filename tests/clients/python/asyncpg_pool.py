"""asyncpg with its own pool."""

import asyncio

import asyncpg

import ledger


def dsn(pairs):
    text = "postgresql://" + ",".join(f"{host}:{port}" for host, port in pairs)
    return text if ledger.through_pooler else f"{text}?target_session_attrs={ledger.target}"


used, shown = ledger.servers(dsn)
# A pooler in transaction mode loses prepared statements.
options = {"statement_cache_size": 0} if ledger.through_pooler else {}
told = "".join(f", {name}={value}" for name, value in options.items())


async def work(pool, worker):
    while not ledger.stop.is_set():
        attempt = ledger.Attempt(worker)
        try:
            async with pool.acquire() as connection:
                attempt.sent()
                await connection.execute("insert into written (id, client) values ($1, 'asyncpg')", attempt.id)
            attempt.acknowledged()
        except (Exception, asyncio.CancelledError) as error:
            attempt.failed(error)
        await asyncio.sleep(ledger.PAUSE)


async def main():
    pool = await asyncpg.create_pool(
        used,
        min_size=ledger.WORKERS,
        max_size=ledger.WORKERS,
        server_settings={"application_name": "asyncpg"},
        **options,
    )
    ledger.begin(f"asyncpg {asyncpg.__version__}", f'create_pool("{shown}"{told})')
    workers = [asyncio.create_task(work(pool, n)) for n in range(ledger.WORKERS)]
    await asyncio.wait(workers)


asyncio.run(main())
