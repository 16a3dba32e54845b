import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { encodeChunk, encodeRangePayload, parseHeader } from '../../../src/protocol/chunk.ts'
import { randomName } from '../../../src/protocol/names.ts'
import { partKeys } from '../../../src/protocol/keys.ts'
import { decodeOutcome } from '../../../src/protocol/outcome.ts'
import type { FailureOutcome } from '../../../src/protocol/outcome.ts'
import { decodeRun } from '../../../src/protocol/run.ts'
import { decodeBatch, decodeValue, encodeBatch, encodeValue } from '../../../src/protocol/values.ts'
import { openClient } from '../../../src/store/client.ts'
import type { Client } from '../../../src/store/client.ts'
import { LaneStore } from '../../../src/store/lane-store.ts'
import { redisTarget } from '../../../src/store/target.ts'
import { spawnNode } from '../../support/process.ts'
import type { NodeProcess } from '../../support/process.ts'
import { startRedis } from '../../support/redis.ts'
import type { RedisOptions, RedisProcess } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

/** The build under test. */
export const dist = pathToFileURL(`${process.env['MILLRACE_TEST_DIST'] ?? resolve('dist')}/`)
export const workerEntry = new URL('worker/index.js', dist).href
export const tasksFile = fileURLToPath(new URL('./tasks.mjs', import.meta.url))
const workerProcess = fileURLToPath(new URL('./worker-process.mjs', import.meta.url))

export interface LabWorker extends NodeProcess {
  readonly id: string
  readonly hash: string
}

export interface LabJob {
  readonly job: string
  readonly incarnation: string
  readonly count: number
}

/** What came of one task. */
export type LabOutcome =
  | { readonly value: unknown }
  | { readonly failure: FailureOutcome }
  | { readonly partial: unknown; readonly count: number }

/** A Redis, workers in processes of their own, and jobs put straight into the lane. */
export class Lab {
  readonly redis: RedisProcess
  readonly namespace: string
  readonly client: Client
  readonly store: LaneStore
  readonly workers: LabWorker[] = []
  #hash = ''

  constructor(redis: RedisProcess, namespace = `t${randomName(3)}`) {
    this.redis = redis
    this.namespace = namespace
    this.client = openClient(redisTarget(redis.url), { name: 'lab', silenceMs: 10_000 })
    this.client.on('error', () => undefined)
    this.store = new LaneStore(this.client, { namespace, queue: 'default', lane: 0 })
  }

  /** For a worker that was started by other means. */
  useHash(hash: string): void {
    this.#hash = hash
  }

  async startWorker(options: Readonly<Record<string, unknown>> = {}): Promise<LabWorker> {
    const settings = {
      tasks: tasksFile,
      redis: this.redis.url,
      namespace: this.namespace,
      threads: 1,
      leaseMs: 2000,
      ...options,
    }
    const child = spawnNode([workerProcess, workerEntry, JSON.stringify(settings)])
    const [, id = '', hash = ''] = await child.waitForLine(/^ready (\w+) (\w+)$/)
    this.#hash = hash
    const worker = Object.assign(child, { id, hash })
    this.workers.push(worker)
    return worker
  }

  /** Submits inputs as one chunk, or as many as `packs` says. Needs a worker first, for the hash of the code. */
  async submit(
    task: string,
    inputs: readonly unknown[] | number,
    {
      packs = 1,
      pace,
      shared,
      reducer = '',
      payload,
    }: { packs?: number; pace?: number; shared?: unknown; reducer?: string; payload?: Buffer } = {},
  ): Promise<LabJob> {
    const job = `j${randomName(4)}`
    const incarnation = randomName(4)
    const count = typeof inputs === 'number' ? inputs : inputs.length
    const isRange = typeof inputs === 'number'
    const flags = shared === undefined ? (reducer === '' ? 'plain' : 'reduce') : reducer === '' ? 'shared' : 'both'
    const size = Math.ceil(count / packs)
    const elements: Buffer[] = []
    for (let first = 0; first < count; first += size) {
      const own = isRange ? encodeRangePayload({ start: 0, step: 1 }) : encodeBatch(inputs.slice(first, first + size))
      const header = {
        job,
        incarnation,
        first,
        count: Math.min(size, count - first),
        base: first,
        attempt: 1,
        deaths: 0,
        kind: isRange ? 'range' : 'pack',
        flags,
        task,
      } as const
      elements.push(encodeChunk(header, payload ?? own))
    }
    const create = {
      task,
      hash: this.#hash,
      kind: isRange ? 'range' : 'list',
      start: 0,
      step: 1,
      total: count,
      priority: 0,
      detached: false,
      reducer,
      shared: shared !== undefined,
      keepMs: 60_000,
    } as const
    const part = { job, incarnation, hash: this.#hash, collector: 'lab' }
    // With a pace the first claim takes many tasks; without, one.
    if (pace !== undefined) {
      await this.store.parts.submit(part, {
        from: 0,
        to: 0,
        complete: false,
        skipped: 0,
        taskless: 0,
        elements: [],
        driverLeaseMs: 60_000,
        create,
      })
      await this.client.hset(partKeys(this.store.lane, job).part, 'pace', pace)
    }
    const reply = await this.store.parts.submit(part, {
      from: 0,
      to: count,
      complete: true,
      skipped: 0,
      taskless: 0,
      elements,
      driverLeaseMs: 60_000,
      create,
      ...(shared === undefined ? {} : { shared: encodeValue(shared) }),
    })
    if (reply.word !== 'submitted') throw new Error(`submit replied ${reply.word}`)
    return { job, incarnation, count }
  }

  /** Waits until every task is settled, and gives what came of each by index. A partial stands at its first index. */
  async outcomes({ job, count }: LabJob, timeoutMs = 60_000): Promise<LabOutcome[]> {
    await until(async () => ((await this.store.parts.readCounters(job))?.settled ?? 0) >= count, {
      what: `all ${count} tasks of ${job} are settled`,
      timeoutMs,
    }).catch((error: unknown) => {
      const said = this.workers.map(worker => `${worker.id} ${JSON.stringify(worker.stderr.slice(-5))}`)
      throw new Error(`the workers said last: ${said.join(', ')}`, { cause: error })
    })
    const counters = await this.store.parts.readCounters(job)
    if (counters?.settled !== count) throw new Error(`${String(counters?.settled)} settled of ${count}`)
    const outcomes: LabOutcome[] = []
    const fields = await this.client.hgetallBuffer(partKeys(this.store.lane, job).results)
    let runs = 0
    for (const [field, value] of Object.entries(fields)) {
      const stored = decodeRun(field, value)
      const [held] = 'bytes' in stored ? [null] : await this.store.parts.readResults(job, [stored])
      const run = 'bytes' in stored ? stored : { ...stored, bytes: held ?? Buffer.alloc(0) }
      runs += run.count
      if (run.kind === 'failure') outcomes[run.first] = { failure: decodeOutcome(run.bytes) }
      else if (run.kind === 'partial') outcomes[run.first] = { partial: decodeValue(run.bytes), count: run.count }
      else for (const [i, each] of decodeBatch(run.bytes).entries()) outcomes[run.first + i] = { value: each }
    }
    if (runs !== count) throw new Error(`the runs of ${job} cover ${runs} tasks of ${count}`)
    return outcomes
  }

  async values(job: LabJob, timeoutMs?: number): Promise<unknown[]> {
    return (await this.outcomes(job, timeoutMs)).map(outcome => {
      if ('value' in outcome) return outcome.value
      throw new Error(`a task failed: ${JSON.stringify(outcome)}`)
    })
  }

  /** How many tasks of a job wait, in its List or on the stage. */
  async waiting({ job }: LabJob): Promise<number> {
    const staged = await this.store.claims.peekStage(this.#hash)
    const onStage = staged.map(line => parseHeader(line)).filter(header => header?.job === job)
    const counters = await this.store.parts.readCounters(job)
    return (counters?.waiting ?? 0) + onStage.reduce((sum, header) => sum + (header?.count ?? 0), 0)
  }

  /** What of this lab is left in Redis that belongs to workers. */
  async workerKeys(): Promise<string[]> {
    return (await this.client.keys(`*${this.namespace}*`)).filter(key => /:(claim:|worker:|workers$|waiting)/.test(key))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.workers) worker.kill()
    await Promise.all(this.workers.map(worker => worker.exited))
    this.client.disconnect()
  }
}

export async function startLabRedis(options?: RedisOptions): Promise<RedisProcess> {
  return startRedis(options)
}
