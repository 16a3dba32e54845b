import { startServer } from '../core/redis-server.ts'
import type { Server } from '../core/redis-server.ts'
import { startPeerWorkers } from './peer-workers.ts'

/** What is used of bee-queue. It is installed with the benchmark only, and has types of its own kind. */
interface BeeJob {
  on(event: 'succeeded', listener: (result: unknown) => void): void
  on(event: 'failed', listener: (error: Error) => void): void
}
interface BeeQueueClient {
  ready(): Promise<unknown>
  createJob(data: unknown): BeeJob
  saveAll(jobs: readonly BeeJob[]): Promise<ReadonlyMap<BeeJob, Error>>
  close(): Promise<void>
}
interface BeeModule {
  readonly default: new (name: string, options: object) => BeeQueueClient
}

const packageName = 'bee-queue'

export const beeHow =
  'saveAll of all inputs (pipelined), one worker process with concurrency 100, removeOnSuccess, results by job events'

export class BeeQueue {
  readonly server: Server
  readonly #queue: BeeQueueClient
  readonly #closeWorkers: () => Promise<void>

  constructor(server: Server, queue: BeeQueueClient, close: () => Promise<void>) {
    this.server = server
    this.#queue = queue
    this.#closeWorkers = close
  }

  static async open(): Promise<BeeQueue> {
    const { default: Queue } = (await import(packageName)) as BeeModule
    const server = await startServer()
    const queue = new Queue('leaves', { redis: { host: '127.0.0.1', port: server.port }, isWorker: false })
    await queue.ready()
    return new BeeQueue(server, queue, await startPeerWorkers('bee-queue', 1, server.port, 'noop'))
  }

  async map(inputs: readonly number[]): Promise<unknown[]> {
    const results = new Array<unknown>(inputs.length)
    let left = inputs.length
    await new Promise<void>((resolve, reject) => {
      const jobs = inputs.map((input, at) => {
        const job = this.#queue.createJob({ input })
        job.on('succeeded', result => {
          results[at] = result
          if (--left === 0) resolve()
        })
        job.on('failed', reject)
        return job
      })
      this.#queue.saveAll(jobs).then(errors => {
        for (const error of errors.values()) reject(error)
      }, reject)
    })
    return results
  }

  async close(): Promise<void> {
    await this.#closeWorkers()
    await this.#queue.close()
    await this.server.stop()
  }
}
