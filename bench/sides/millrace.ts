import { spawnNode } from '../../test/support/process.ts'
import { fileURLToPath } from 'node:url'
import { connect } from '../core/millrace.ts'
import type { Mill } from '../core/millrace.ts'
import { startServer } from '../core/redis-server.ts'
import type { Server } from '../core/redis-server.ts'

const tasks = new URL('../work/tasks.ts', import.meta.url)

/** Millrace as it is deployed: a Redis, a worker process, and this process as the driver. */
export class Fleet {
  readonly server: Server
  readonly mill: Mill
  readonly workerPid: number
  readonly #stopWorker: () => Promise<void>

  constructor(server: Server, mill: Mill, workerPid: number, stopWorker: () => Promise<void>) {
    this.server = server
    this.mill = mill
    this.workerPid = workerPid
    this.#stopWorker = stopWorker
  }

  async close(): Promise<void> {
    await this.mill.close()
    await this.#stopWorker()
    await this.server.stop()
  }
}

export const millraceHow = (threads: number) =>
  `map() from this process; one \`millrace worker\` process with ${threads} thread${threads === 1 ? '' : 's'}; no option set`

/** `threads` 0: no worker, so that what is submitted waits. */
export async function openFleet(threads: number): Promise<Fleet> {
  const server = await startServer()
  const worker = threads === 0 ? undefined : startWorkerProcess(server.url, threads)
  // Hundreds of threads load the module one after the other on two cores.
  await worker?.waitForLine(/^ready: /, 120_000)
  const mill = await connect({ redis: server.url, tasks })
  return new Fleet(server, mill, worker?.pid ?? 0, async () => {
    if (worker === undefined) return
    worker.kill('SIGTERM')
    await worker.exited
  })
}

function startWorkerProcess(url: string, threads: number) {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  return spawnNode([cli, 'worker', fileURLToPath(tasks), '--threads', String(threads), '--redis', url])
}
