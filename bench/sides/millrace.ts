import { spawnNode } from '../../test/support/process.ts'
import { fileURLToPath } from 'node:url'
import { connect } from '../core/millrace.ts'
import type { Mill } from '../core/millrace.ts'
import { startServer } from '../core/redis-server.ts'
import type { Server } from '../core/redis-server.ts'

export const tasks = new URL('../work/tasks.ts', import.meta.url)

/** Millrace as it is deployed: a Redis, worker processes, and this process as the driver. */
export class Fleet {
  readonly server: Server
  readonly mill: Mill
  readonly workerPids: readonly number[]
  readonly #stopWorkers: () => Promise<void>

  constructor(server: Server, mill: Mill, workerPids: readonly number[], stopWorkers: () => Promise<void>) {
    this.server = server
    this.mill = mill
    this.workerPids = workerPids
    this.#stopWorkers = stopWorkers
  }

  async close(): Promise<void> {
    await this.mill.close()
    await this.#stopWorkers()
    await this.server.stop()
  }
}

export const millraceHow = (threads: number) =>
  `map() from this process; one \`millrace worker\` process with ${threads} thread${threads === 1 ? '' : 's'}; no option set`

/** `threads` of each worker process; 0: no worker, so that what is submitted waits. */
export async function openFleet(threads: number, processes = 1): Promise<Fleet> {
  const server = await startServer()
  const workers = Array.from({ length: threads === 0 ? 0 : processes }, () => startWorkerProcess(server.url, threads))
  // Hundreds of threads load the module one after the other on two cores.
  await Promise.all(workers.map(worker => worker.waitForLine(/^ready: /, 120_000)))
  const mill = await connect({ redis: server.url, tasks })
  const pids = workers.map(({ pid }) => pid)
  return new Fleet(server, mill, pids, async () => {
    for (const worker of workers) worker.kill('SIGTERM')
    await Promise.all(workers.map(({ exited }) => exited))
  })
}

export function startWorkerProcess(url: string, threads: number) {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  return spawnNode([cli, 'worker', fileURLToPath(tasks), '--threads', String(threads), '--redis', url, '--no-restart'])
}
