// postgres.mjs [MAX_LIFETIME] ...: postgres.js, which is its own pool. It was seen to keep
// connections to a read-only server in spite of target_session_attrs; they last for max_lifetime, 30 to 60 minutes by default.
import postgres from 'postgres'
import { WORKERS, hosts, run, target, throughPooler, told, version } from './ledger.mjs'

const form = (pairs) => `postgres://${pairs.map((pair) => pair.join(':')).join(',')}/` +
  (throughPooler ? '' : `?target_session_attrs=${target}`)
const [lifetime] = process.argv.slice(2, -3)
const options = {
  ...(throughPooler ? { prepare: false } : {}), // in transaction mode, prepared statements are lost
  ...(lifetime ? { max_lifetime: Number(lifetime) } : {}),
}
const name = lifetime ? 'postgres.js' : 'postgres.js_default'
const toldOptions = Object.entries(options).map(([key, value]) => `${key}: ${value}`).join(', ')
const sql = postgres(form(hosts), { max: WORKERS, connection: { application_name: name }, ...options })

// It takes a connection by itself: every error may be one of a write that was sent.
run(`postgres.js ${version('postgres')}${lifetime ? `, max_lifetime ${lifetime} s` : ''}`, `postgres("${form(told)}"${toldOptions && `, {${toldOptions}}`})`,
  async (id, sent) => {
    sent()
    await sql`insert into written (id, client) values (${id}, ${name})`
  })
