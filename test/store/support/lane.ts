import { afterAll, afterEach, beforeAll } from 'vitest'
import { encodeChunk, parseHeader } from '../../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../../src/protocol/chunk.ts'
import { claimKey, codeKeys, laneTag, partKeys, workerKeys } from '../../../src/protocol/keys.ts'
import { randomName } from '../../../src/protocol/names.ts'
import type { PartFields, WorkerInfo } from '../../../src/protocol/records.ts'
import type { RunKind } from '../../../src/protocol/run.ts'
import { openClient } from '../../../src/store/client.ts'
import type { Client } from '../../../src/store/client.ts'
import { redisNowMs } from '../../../src/store/inspect/census.ts'
import { LaneStore } from '../../../src/store/lane-store.ts'
import { redisTarget } from '../../../src/store/target.ts'
import { startRedis } from '../../support/redis.ts'
import type { RedisOptions, RedisProcess } from '../../support/redis.ts'

export const hash = 'c0de'
export const driverLeaseMs = 60_000

/** A redis-server for the tests of one file, and lanes on it. */
export function useRedis(options: RedisOptions = {}) {
  let redis: RedisProcess | undefined
  const clients: Client[] = []
  beforeAll(async () => {
    redis = await startRedis(options)
  })
  afterEach(() => {
    for (const client of clients.splice(0)) client.disconnect()
  })
  afterAll(async () => {
    await redis?.stop()
  })
  const process = () => {
    if (redis === undefined) throw new Error('The server runs only within tests.')
    return redis
  }
  const open = () => {
    const client = openClient(redisTarget(process().url), { name: 'millrace:test', silenceMs: 20_000 })
    client.on('error', () => undefined)
    clients.push(client)
    return client
  }
  return {
    get process() {
      return process()
    },
    open,
    /** A lane in a namespace of its own, with helpers. */
    lane: (lane = 0) => new TestLane(open(), randomName(4), lane),
  }
}

export interface TestJob {
  readonly job: string
  readonly incarnation: string
  readonly collector: string
  readonly hash: string
}

/** A lane store, and what tests say often, in a few words. */
export class TestLane extends LaneStore {
  #jobs = 0

  constructor(client: Client, namespace: string, lane: number) {
    super(client, { namespace, queue: 'default', lane })
  }

  /** Creates a job of `tasks` in chunks of `per`, complete unless it is said not to be. */
  async job(
    tasks: number,
    options: Partial<PartFields> & {
      per?: number
      id?: string
      complete?: boolean
      kind?: 'list' | 'range'
      leaseMs?: number
    } = {},
  ): Promise<TestJob> {
    const { per = 1, id = `job-${++this.#jobs}`, complete = true, leaseMs = driverLeaseMs, ...fields } = options
    const part = { job: id, incarnation: randomName(4), collector: randomName(4), hash: fields.hash ?? hash }
    const reply = await this.parts.submit(part, {
      from: 0,
      to: tasks,
      skipped: 0,
      taskless: 0,
      complete,
      elements: chunksOf(part, 0, tasks, per),
      driverLeaseMs: leaseMs,
      create: { ...plainFields, ...fields },
    })
    if (reply.word !== 'submitted') throw new Error(`The job was not created: ${reply.word}`)
    return part
  }

  /** Registers a worker with these claims, alive for `leaseMs`. */
  async join(
    worker: string,
    claims: readonly string[],
    { leaseMs = 60_000, info = {} }: { leaseMs?: number; info?: Partial<WorkerInfo> } = {},
  ): Promise<void> {
    await this.members.register(worker, { leaseMs, info: JSON.stringify(workerInfo(worker, info)), claims })
  }

  /** Claims as a thread does: again with the jobs that stand first, when they were not declared. */
  async take(
    worker: string,
    claim: string,
    options: { mostChunks?: number; waitMs?: number; hash?: string; defers?: boolean; noted?: string } = {},
  ) {
    let jobs: readonly string[] = []
    for (let i = 0; i < 5; i++) {
      const reply = await this.claims.claim({
        worker,
        claim,
        hash: options.hash ?? hash,
        jobs,
        waitMs: options.waitMs ?? 0,
        mostChunks: options.mostChunks ?? 1,
        mostBytes: 1_000_000,
        defers: options.defers ?? false,
        noted: options.noted,
      })
      if (reply.word !== 'undeclared') return { ...reply, chunks: reply.elements.map(headerOf) }
      jobs = reply.jobs
    }
    throw new Error('The jobs that stand first were declared, and it did not suffice.')
  }

  /** Settles whole chunks with one result each. */
  async finish(
    part: TestJob,
    claim: string,
    chunks: readonly Pick<ChunkHeader, 'first' | 'count' | 'attempt'>[],
    kind: RunKind = 'values',
  ) {
    return this.claims.settle(part, claim, {
      chunks: chunks.map(({ first, attempt, count }) => ({ first, attempt, done: count })),
      runs: chunks.map(({ first, count }) => ({ first, count, kind, bytes: Buffer.from(`results ${first}`) })),
      retries: [],
      paceNs: 0,
    })
  }

  /** Makes a worker's lease lapse, and declares it dead, as a reaper that has run without a gap would. */
  async killWorker(worker: string): Promise<void> {
    const { client, keys } = this
    await client.zadd(keys.workers, 1, worker)
    await this.pretendReaping(6000)
    await this.members.declareDead(6000)
    if ((await client.zscore(keys.dead, worker)) === null) throw new Error(`Worker ${worker} would not die.`)
  }

  /** As if a reaper had run without a gap for ever, the last time a quarter of a lease ago. */
  async pretendReaping(leaseMs: number): Promise<void> {
    await this.client.hset(
      this.keys.lane,
      'reapingSince',
      1,
      'reapedAt',
      Math.round((await redisNowMs(this)) - leaseMs / 4),
    )
  }

  async held(claim: string): Promise<ChunkHeader[]> {
    return (await this.client.lrangeBuffer(claimKey(this.lane, claim), 0, -1)).map(headerOf).reverse()
  }

  /** Waiting chunks, those that stand first in front. */
  async waitingChunks({ job }: { job: string }): Promise<ChunkHeader[]> {
    return (await this.client.lrangeBuffer(partKeys(this.lane, job).chunks, 0, -1)).map(headerOf).reverse()
  }

  async staged(code = hash): Promise<ChunkHeader[]> {
    return (await this.client.lrangeBuffer(codeKeys(this.lane, code).stage, 0, -1)).map(headerOf).reverse()
  }

  async delayedChunks({ job }: { job: string }): Promise<ChunkHeader[]> {
    return (await this.client.zrangeBuffer(partKeys(this.lane, job).delayed, 0, '-1')).map(headerOf)
  }

  async record({ job }: { job: string }) {
    const record = await this.parts.readPart(job)
    if (record === undefined) throw new Error(`There is no job ${job}.`)
    return record
  }

  results({ job }: { job: string }): Promise<Record<string, string>> {
    return this.client.hgetall(partKeys(this.lane, job).results)
  }

  /** Everything that the lane has in Redis, byte for byte. */
  async everything(): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    for (const key of (await this.allKeys()).sort()) {
      found[key] = (await this.client.dumpBuffer(key)).toString('hex')
    }
    return found
  }

  allKeys(): Promise<string[]> {
    return this.client.keys(`${laneTag(this.lane)}:*`)
  }

  keysOf(job: string) {
    return partKeys(this.lane, job)
  }

  codeKeys(code = hash) {
    return codeKeys(this.lane, code)
  }

  workerKeys(worker: string) {
    return workerKeys(this.lane, worker)
  }

  claimKey(claim: string): string {
    return claimKey(this.lane, claim)
  }
}

export const plainFields: PartFields = {
  task: 'square',
  hash,
  kind: 'list',
  start: 0,
  step: 1,
  total: -1,
  priority: 0,
  detached: false,
  reducer: '',
  shared: false,
  keepMs: 3_600_000,
}

export function chunksOf(part: Pick<TestJob, 'job' | 'incarnation'>, from: number, to: number, per: number): Buffer[] {
  const chunks: Buffer[] = []
  for (let first = from; first < to; first += per)
    chunks.push(chunkOf(part, { first, count: Math.min(per, to - first) }))
  return chunks
}

export function chunkOf(
  { job, incarnation }: Pick<TestJob, 'job' | 'incarnation'>,
  header: Partial<ChunkHeader> & Pick<ChunkHeader, 'first'>,
): Buffer {
  const whole: ChunkHeader = {
    job,
    incarnation,
    count: 1,
    base: header.first,
    attempt: 1,
    deaths: 0,
    kind: 'pack',
    flags: 'plain',
    task: 'square',
    ...header,
  }
  return encodeChunk(whole, Buffer.from(`inputs from ${whole.base}`))
}

export function headerOf(element: Buffer): ChunkHeader {
  const header = parseHeader(element.toString('utf8').split('\n')[0] ?? '')
  if (header === undefined) throw new Error(`No chunk: ${element.toString('latin1')}`)
  return header
}

/** `first+count` of each chunk: what most tests compare. */
export function spans(chunks: readonly Pick<ChunkHeader, 'first' | 'count'>[]): string[] {
  return chunks.map(({ first, count }) => `${first}+${count}`)
}

export function workerInfo(id: string, info: Partial<WorkerInfo> = {}): WorkerInfo {
  return {
    id,
    host: 'host',
    pid: 42,
    threads: 2,
    hash,
    tasks: ['square'],
    reducers: [],
    startedAt: 0,
    version: '0.0.0',
    launch: '',
    ...info,
  }
}
