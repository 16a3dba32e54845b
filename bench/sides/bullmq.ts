import { startServer } from '../core/redis-server.ts'
import type { Server } from '../core/redis-server.ts'
import { startPeerWorkers } from './peer-workers.ts'

/** What is used of BullMQ. It is installed with the benchmark only, so that its own types may be missing. */
interface BullJob {
  readonly id?: string
}
interface BullQueue {
  addBulk(jobs: readonly { name: string; data: unknown; opts?: object }[]): Promise<BullJob[]>
  add(name: string, data: unknown): Promise<BullJob>
  waitUntilReady(): Promise<unknown>
  close(): Promise<void>
}
interface BullEvents {
  on(event: 'completed', listener: (event: { jobId: string; returnvalue: unknown }) => void): void
  on(event: 'failed', listener: (event: { jobId: string; failedReason: string }) => void): void
  waitUntilReady(): Promise<unknown>
  close(): Promise<void>
}
interface BullFlow {
  add(flow: object): Promise<{ readonly job: BullJob }>
  close(): Promise<void>
}
interface BullModule {
  readonly Queue: new (name: string, options: object) => BullQueue
  readonly QueueEvents: new (name: string, options: object) => BullEvents
  readonly FlowProducer: new (options: object) => BullFlow
}

const packageName = 'bullmq'

export const bullHow =
  'addBulk of all inputs in one call, one worker process with concurrency 100, removeOnComplete, results by QueueEvents (an event carries its result, so nothing is read again)'

/** A queue of BullMQ with its workers in processes of their own, as its guide has it. */
export class BullMq {
  readonly server: Server
  readonly #queue: BullQueue
  readonly #flow: BullFlow
  readonly #events: readonly BullEvents[]
  readonly #closeWorkers: () => Promise<void>
  /** What has completed, by job id: an event may come before the id is known here. */
  readonly #results = new Map<string, unknown>()
  #failure: Error | undefined
  #wake: () => void = () => undefined

  constructor(
    server: Server,
    queue: BullQueue,
    flow: BullFlow,
    events: readonly BullEvents[],
    close: () => Promise<void>,
  ) {
    this.server = server
    this.#queue = queue
    this.#flow = flow
    this.#events = events
    this.#closeWorkers = close
    for (const each of events) {
      each.on('completed', ({ jobId, returnvalue }) => {
        this.#results.set(jobId, returnvalue)
        this.#wake()
      })
      each.on('failed', ({ jobId, failedReason }) => {
        this.#failure = new Error(`BullMQ's job ${jobId} failed: ${failedReason}`)
        this.#wake()
      })
    }
  }

  /** `workers` 0: what is added waits. */
  static async open(workers: number, work: 'noop' | 'work' = 'noop', { keepCompleted = false } = {}): Promise<BullMq> {
    const { Queue, QueueEvents, FlowProducer } = (await import(packageName)) as BullModule
    const server = await startServer()
    const connection = { host: '127.0.0.1', port: server.port }
    // The default keeps about 10,000 events; more completions than that at once would lose results.
    const streams = { events: { maxLen: 1_000_000 } }
    const defaultJobOptions = { removeOnComplete: !keepCompleted }
    const queue = new Queue('leaves', { connection, streams, defaultJobOptions })
    const parents = new Queue('parents', { connection, streams, defaultJobOptions })
    const events = ['leaves', 'parents'].map(name => new QueueEvents(name, { connection }))
    const flow = new FlowProducer({ connection })
    await Promise.all([queue, parents, ...events].map(each => each.waitUntilReady()))
    await parents.close()
    const close = await startPeerWorkers('bullmq', workers, server.port, work)
    return new BullMq(server, queue, flow, events, close)
  }

  async map(inputs: readonly number[]): Promise<unknown[]> {
    this.#results.clear()
    const jobs = await this.#queue.addBulk(inputs.map(data => ({ name: 'leaf', data })))
    await this.#until(() => this.#results.size >= inputs.length)
    return jobs.map(({ id = '' }) => this.#results.get(id))
  }

  async run(input: number): Promise<unknown> {
    const { id = '' } = await this.#queue.add('leaf', input)
    await this.#until(() => this.#results.has(id))
    const result = this.#results.get(id)
    this.#results.delete(id)
    return result
  }

  /** Adds and does not wait for anything to run. */
  async add(inputs: readonly number[]): Promise<void> {
    await this.#queue.addBulk(inputs.map(data => ({ name: 'leaf', data })))
  }

  /** A flow: one parent that adds up what its children returned. */
  async sum(inputs: readonly number[]): Promise<unknown> {
    this.#results.clear()
    const { job } = await this.#flow.add({
      name: 'sum',
      queueName: 'parents',
      opts: { removeOnComplete: true },
      children: inputs.map(data => ({ name: 'leaf', queueName: 'leaves', data, opts: { removeOnComplete: true } })),
    })
    const { id = '' } = job
    await this.#until(() => this.#results.has(id))
    return this.#results.get(id)
  }

  async close(): Promise<void> {
    await this.#closeWorkers()
    await Promise.all([this.#queue, this.#flow, ...this.#events].map(each => each.close()))
    await this.server.stop()
  }

  async #until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>(resolve => (this.#wake = resolve))
      if (this.#failure !== undefined) throw this.#failure
    }
  }
}
