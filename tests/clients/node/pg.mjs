// node-postgres. It knows one host only: a list of hosts is the application's own, here a pool for each and the next one
// after an error.
import pg from 'pg'
import { WORKERS, hosts, run, target, throughPooler, told, version } from './ledger.mjs'

if (target !== 'read-write' && !throughPooler) {
  console.error('no such setting')
  process.exit(77)
}

const pools = hosts.map(([host, port]) => new pg.Pool({ host, port: Number(port), max: WORKERS, application_name: 'pg' }))
// What happens to an idle connection ends the whole process if nobody listens.
for (const pool of pools) pool.on('error', () => {})
let current = 0

const settings = throughPooler
  ? `new Pool({host: "${told[0][0]}", port: ${told[0][1]}}); pool.on("error", …)`
  : 'one Pool a host, the next one after an error; pool.on("error", …)'

// query() of the pool, not of a client taken from it: there, a session that is ended is an event that ends the process.
run(`pg ${version('pg')}`, settings, async (id, sent) => {
  const used = current
  try {
    sent()
    await pools[used].query("insert into written (id, client) values ($1, 'pg')", [id])
  } catch (error) {
    if (current === used) current = (used + 1) % pools.length
    throw error
  }
})
