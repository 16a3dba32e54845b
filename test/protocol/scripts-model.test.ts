import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { chunkOf, chunksOf, driverLeaseMs, hash, plainFields, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

/**
 * Random histories of several threads, and after every step: each submitted task is in exactly one place, each was
 * settled at most once, and the counters say what is there. The model is a bare count; the truth is read from Redis.
 */

const redis = useRedis()
const claims = ['a', 'b', 'c'] as const
type Claim = (typeof claims)[number]

const claim = fc.constantFrom(...claims)
const small = fc.integer({ min: 0, max: 12 })
// Weighted so that threads mostly hold something: an empty one has nothing to go wrong with.
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      job: fc.nat(1),
      tasks: fc.integer({ min: 1, max: 12 }),
      per: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('claim' as const),
      claim,
      mostChunks: fc.integer({ min: 1, max: 4 }),
      wait: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      claim,
      pick: small,
      done: small,
      retry: fc.boolean(),
      paceNs: fc.constantFrom(0, 1000, 5_000_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('giveBack' as const), claim, keep: small }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('split' as const), claim, pick: small, keep: small }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('promote' as const), job: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), claim }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('die' as const), claim }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stale' as const), claim }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

class History {
  readonly lane: TestLane
  readonly jobs: TestJob[]
  readonly submitted: [number, number] = [0, 0]
  readonly settled: [Set<number>, Set<number>] = [new Set(), new Set()]
  /** The claim that each thread has now, and its worker; both change when it dies or reconnects. */
  readonly threads = new Map<Claim, { claim: string; worker: string }>()
  #names = 0

  constructor(lane: TestLane) {
    this.lane = lane
    this.jobs = [0, 1].map(i => ({ job: `job${i}`, incarnation: `inc${i}`, collector: 'c', hash }))
  }

  async begin(): Promise<void> {
    for (const name of claims) await this.#enter(name)
    for (const job of this.jobs) {
      await this.#submit(job, 8, chunksOf(job, 0, 8, 4))
      // Measured as fast, so that chunks of several tasks travel whole.
      await this.lane.client.hset(this.lane.keysOf(job.job).part, 'pace', 1000)
    }
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'submit': {
        const from = this.submitted[step.job as 0 | 1]
        const job = this.#job(step.job)
        await this.#submit(job, step.tasks, chunksOf(job, from, from + step.tasks, step.per))
        return
      }
      case 'claim': {
        const { claim, worker } = this.#thread(step.claim)
        const reply = await this.lane.take(worker, claim, { mostChunks: step.mostChunks, waitMs: step.wait ? 5000 : 0 })
        if (reply.chunks.some(({ deaths }) => deaths > 0)) expect(await this.lane.held(claim)).toHaveLength(1)
        return
      }
      case 'settle':
        await this.#settle(step)
        return
      case 'giveBack': {
        const { claim } = this.#thread(step.claim)
        const running = (await this.lane.held(claim)).slice(0, step.keep)
        for (const job of this.jobs) {
          await this.lane.claims.giveBack(
            job.job,
            hash,
            claim,
            running.filter(chunk => chunk.job === job.job),
          )
        }
        expect(await this.lane.held(claim)).toHaveLength(running.length)
        return
      }
      case 'split': {
        const { claim } = this.#thread(step.claim)
        const chunk = pick(await this.lane.held(claim), step.pick)
        if (chunk === undefined) return
        await this.lane.claims.split(this.#jobOf(chunk), claim, { ...chunk, keep: step.keep })
        return
      }
      case 'promote':
        await this.lane.upkeep.promote(this.#job(step.job).job, hash)
        return
      case 'reconnect': {
        const { claim, worker } = this.#thread(step.claim)
        const newer = this.#name()
        expect(await this.lane.members.enroll(worker, newer)).toBe('enrolled')
        for (const job of this.jobs) await this.lane.claims.giveBack(job.job, hash, claim)
        expect(await this.lane.members.retireClaim(worker, claim, hash)).toBe('retired')
        this.threads.set(step.claim, { claim: newer, worker })
        return
      }
      case 'die': {
        const { claim, worker } = this.#thread(step.claim)
        await this.lane.killWorker(worker)
        for (const job of this.jobs) {
          // maxDeaths is out of reach: a quarantine is a settlement, which the model does not count.
          await this.lane.claims.giveBackOfDead(job.job, hash, claim, {
            worker,
            maxDeaths: 1000,
            failure: Buffer.from(''),
            evidence: '',
          })
        }
        expect(await this.lane.held(claim)).toEqual([])
        await this.#enter(step.claim)
        return
      }
      case 'stale': {
        // What one thread holds, committed by another: always refused.
        const { claim } = this.#thread(step.claim)
        for (const [name, { claim: other }] of this.threads) {
          const [chunk] = await this.lane.held(other)
          if (name === step.claim || chunk === undefined) continue
          expect((await this.lane.finish(this.#jobOf(chunk), claim, [chunk])).word).toBe('fenced')
        }
      }
    }
  }

  /** Every task in exactly one place. */
  async check(): Promise<void> {
    const { lane } = this
    const staged = await lane.staged()
    const held = (await Promise.all([...this.threads.values()].map(({ claim }) => lane.held(claim)))).flat()
    for (const [index, job] of this.jobs.entries()) {
      const waiting = await lane.waitingChunks(job)
      const mine = [...staged, ...held].filter(chunk => chunk.job === job.job)
      const places = [...waiting, ...mine, ...(await lane.delayedChunks(job))].flatMap(tasksOf)
      const settled = [...(this.settled[index] ?? [])]
      const all = Array.from({ length: this.submitted[index as 0 | 1] }, (_, task) => task)
      expect([...places, ...settled].sort((a, b) => a - b)).toEqual(all)
      const record = await lane.record(job)
      expect(record).toMatchObject({ submitted: all.length, settled: settled.length })
      expect(record.waiting).toBe(waiting.flatMap(tasksOf).length)
      expect((await resultTasks(lane, job)).sort((a, b) => a - b)).toEqual(settled.sort((a, b) => a - b))
      // What waits can be found: the job stands in the queue exactly when its List holds something.
      expect((await lane.client.zscore(lane.codeKeys().ready, job.job)) !== null).toBe(waiting.length > 0)
    }
    expect(await lane.client.exists(lane.keys.malformed)).toBe(0)
  }

  async #submit(job: TestJob, tasks: number, elements: Buffer[]): Promise<void> {
    const index = this.jobs.indexOf(job) as 0 | 1
    const from = this.submitted[index]
    const batch = {
      from,
      to: from + tasks,
      skipped: 0,
      taskless: 0,
      complete: false,
      elements,
      driverLeaseMs,
      create: plainFields,
    }
    expect((await this.lane.parts.submit(job, batch)).word).toBe('submitted')
    if (tasks > 0) expect((await this.lane.parts.submit(job, batch)).word).toBe('out of step')
    this.submitted[index] += tasks
  }

  async #settle(step: Extract<Step, { do: 'settle' }>): Promise<void> {
    const { claim } = this.#thread(step.claim)
    const held = await this.lane.held(claim)
    const chunk = pick(held, step.pick)
    if (chunk === undefined) return
    const job = this.#jobOf(chunk)
    const done = Math.min(step.done, chunk.count)
    const retries =
      step.retry && done > 0
        ? [{ delayMs: 1, element: chunkOf(job, { first: chunk.first, attempt: chunk.attempt + 1 }) }]
        : []
    const first = chunk.first + retries.length
    const count = done - retries.length
    const reply = await this.lane.claims.settle(job, claim, {
      chunks: [{ first: chunk.first, attempt: chunk.attempt, done }],
      runs: count > 0 ? [{ first, count, kind: 'values', bytes: Buffer.from('r') }] : [],
      retries,
      paceNs: step.paceNs,
    })
    expect(reply.word).toBe('committed')
    const settled = this.settled[this.jobs.indexOf(job) as 0 | 1]
    for (let task = first; task < first + count; task++) {
      expect(settled.has(task)).toBe(false)
      settled.add(task)
    }
  }

  async #enter(name: Claim): Promise<void> {
    const thread = { claim: this.#name(), worker: this.#name() }
    await this.lane.join(thread.worker, [thread.claim])
    this.threads.set(name, thread)
  }

  #name(): string {
    return `n${++this.#names}`
  }

  #thread(name: Claim) {
    const thread = this.threads.get(name)
    if (thread === undefined) throw new Error(`no thread ${name}`)
    return thread
  }

  #job(index: number): TestJob {
    const job = this.jobs[index]
    if (job === undefined) throw new Error(`no job ${index}`)
    return job
  }

  #jobOf(chunk: ChunkHeader): TestJob {
    return this.#job(this.jobs.findIndex(({ job }) => job === chunk.job))
  }
}

function tasksOf({ first, count }: Pick<ChunkHeader, 'first' | 'count'>): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}

async function resultTasks(lane: TestLane, job: TestJob): Promise<number[]> {
  return Object.entries(await lane.results(job)).flatMap(([first, value]) =>
    tasksOf({ first: Number(first), count: parseInt(value) }),
  )
}

function pick<T>(items: readonly T[], index: number): T | undefined {
  return items[index % Math.max(1, items.length)]
}

test(
  'every task is in exactly one place and settled once, whatever happens in whatever order',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), async steps => {
        const history = new History(redis.lane())
        await history.begin()
        for (const next of steps) {
          await history.take(next)
          await history.check()
        }
        history.lane.client.disconnect()
      }),
      { numRuns: 50 },
    )
  },
)
