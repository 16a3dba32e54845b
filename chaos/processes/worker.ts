import { subscribe } from 'node:diagnostics_channel'
import { startWorker } from 'millrace/worker'
import { History } from '../history.ts'
import { readSettings } from './settings.ts'
import type { WorkerSettings } from './settings.ts'
import { recordCommits } from './record-commits.ts'

/** A worker of a chaos run: `worker.ts <settings as JSON>`. Drains on SIGTERM and exits with 0. */

const { redis, namespace, threads, leaseMs, tasks, history } = readSettings() as WorkerSettings
// What the threads commit they write down themselves; the main thread settles for those that died.
recordCommits(new History(history, `${process.pid}`), subscribe)
const worker = await startWorker({
  redis,
  namespace,
  threads,
  leaseMs,
  tasks,
  heapMb: 128,
  drainMs: 10_000,
  signals: true,
  log: {
    info: line => {
      console.log(`info ${line}`)
    },
    warn: line => {
      console.log(`warn ${line}`)
    },
  },
})
console.log(`ready ${worker.id}`)
await worker.closed
