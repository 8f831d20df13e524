// postgres.js, which is its own pool.
import postgres from 'postgres'
import { WORKERS, hosts, run, target, throughPooler, told, version } from './ledger.mjs'

const form = (pairs) => `postgres://${pairs.map((pair) => pair.join(':')).join(',')}/` +
  (throughPooler ? '' : `?target_session_attrs=${target}`)
// A pooler in transaction mode loses prepared statements.
const options = throughPooler ? { prepare: false } : {}
const sql = postgres(form(hosts), { max: WORKERS, connection: { application_name: 'postgres.js' }, ...options })

// It takes a connection by itself: every error may be one of a write that was sent.
run(`postgres.js ${version('postgres')}`, `postgres("${form(told)}"${throughPooler ? ', {prepare: false}' : ''})`,
  async (id, sent) => {
    sent()
    await sql`insert into written (id, client) values (${id}, 'postgres.js')`
  })
