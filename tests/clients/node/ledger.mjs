// What every client in JavaScript does: eight workers, each with one write after the other, and a line for each write.
import { randomUUID } from 'node:crypto'
import { openSync, readFileSync, writeSync } from 'node:fs'

export const WORKERS = 8
const PAUSE = 100 // ms, between two writes of one worker

const [list, wanted, path] = process.argv.slice(-3)
export const target = wanted
export const throughPooler = target === 'pooler'
export const hosts = list.split(',').map((host) => host.split(':'))
export const told = throughPooler ? [['pooler', '6432']] : [['old', '5432'], ['new', '5432']]

const file = openSync(path, 'a')
const line = (fields) => writeSync(file, JSON.stringify(fields) + '\n')
const now = () => Date.now() / 1000
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

let stopped = false
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => { stopped = true })

export const version = (name) =>
  JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url))).version

// write(id, sent): calls sent() when it has a connection in hand, as far as the driver lets it know.
export async function run(driver, settings, write) {
  line({ driver, settings })
  const work = async (worker) => {
    while (!stopped) {
      const id = randomUUID()
      let sent = false
      try {
        await write(id, () => { sent = true })
        line({ at: now(), worker, id })
      } catch (error) {
        // A code of PostgreSQL's has five characters and a digit; ECONNREFUSED and its like are the system's and the driver's.
        const sqlstate = /^(?=.*\d)[0-9A-Z]{5}$/.test(error.code ?? '') ? error.code : ''
        line({ at: now(), worker, id, sent, sqlstate, error: String(error.message || error.code).slice(0, 200) })
      }
      await sleep(PAUSE)
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)))
  process.exit(0)
}
