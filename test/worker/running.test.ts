import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis } from './support/lab.ts'
import type { LabOutcome } from './support/lab.ts'

let redis: RedisProcess
let lab: Lab

beforeAll(async () => {
  redis = await startLabRedis()
  lab = new Lab(redis)
  await lab.startWorker({ threads: 2 })
})

afterAll(async () => {
  await lab[Symbol.asyncDispose]()
  await redis.stop()
})

function failureOf(outcome: LabOutcome | undefined) {
  if (outcome === undefined || !('failure' in outcome))
    throw new Error(`expected a failure, got ${JSON.stringify(outcome)}`)
  return outcome.failure
}

describe('a worker', () => {
  it('runs a range without payload and commits every result once', async () => {
    const values = await lab.values(await lab.submit('square', 20_000))
    expect(values).toEqual(Array.from({ length: 20_000 }, (_, i) => i * i))
  })

  it('runs packs of inputs', async () => {
    const inputs = Array.from({ length: 1000 }, (_, i) => i / 2)
    expect(await lab.values(await lab.submit('square', inputs, { packs: 10 }))).toEqual(inputs.map(x => x * x))
  })

  it('commits the neighbours of tasks that fail', async () => {
    const outcomes = await lab.outcomes(await lab.submit('odd', [0, 1, 2, 3, 4, 5], { pace: 1000 }))
    expect([0, 2, 4].map(i => outcomes[i])).toEqual([{ value: 0 }, { value: 2 }, { value: 4 }])
    const failure = failureOf(outcomes[3])
    expect(failure).toMatchObject({
      code: 'TASK_FAILED',
      attempt: 1,
      error: { kind: 'error', name: 'RangeError', message: '3 is odd' },
    })
    expect(failure.worker).toMatch(/^.+:\d+\/[01]$/)
  })

  it('runs a failed task again up to its retries', async () => {
    expect(await lab.values(await lab.submit('flaky', ['a', 'b', 'c']))).toEqual([3, 3, 3])
  })

  it('fails only the task whose result can not be encoded, with the path', async () => {
    const outcomes = await lab.outcomes(await lab.submit('bad', [1, 2, 3, 4, 5], { pace: 1000 }))
    const failure = failureOf(outcomes[2])
    expect(failure.code).toBe('VALUE_NOT_ENCODABLE')
    expect((failure.error as { message: string }).message).toContain('$.inner.fn')
    expect(outcomes.filter(outcome => 'value' in outcome)).toHaveLength(4)
  })

  it('fails the tasks of a name that its module does not export', async () => {
    const outcomes = await lab.outcomes(await lab.submit('nowhere', [1, 2, 3]))
    expect(outcomes.map(outcome => failureOf(outcome).code)).toEqual(['UNKNOWN_TASK', 'UNKNOWN_TASK', 'UNKNOWN_TASK'])
  })

  it('fails the tasks of a payload that is none', async () => {
    const outcomes = await lab.outcomes(await lab.submit('square', [1, 2], { payload: Buffer.from('garbage') }))
    expect(outcomes.map(outcome => failureOf(outcome).code)).toEqual(['MALFORMED_DATA', 'MALFORMED_DATA'])
  })

  it('runs asynchronous tasks side by side in one thread', async () => {
    const started = performance.now()
    await lab.values(
      await lab.submit(
        'waits',
        Array.from({ length: 40 }, () => 2500),
        { packs: 40 },
      ),
    )
    // One after the other on two threads they take 50 s.
    expect(performance.now() - started).toBeLessThan(40_000)
  })

  it('gives the shared value to every task', async () => {
    const job = await lab.submit(
      'scaled',
      Array.from({ length: 100 }, (_, i) => i),
      { packs: 4, shared: { factor: 3 } },
    )
    expect(await lab.values(job)).toEqual(Array.from({ length: 100 }, (_, i) => i * 3))
  })

  it('reduces contiguous results to partials', async () => {
    const outcomes = await lab.outcomes(await lab.submit('square', 5000, { reducer: 'add', pace: 1000 }))
    const partials = Object.values(outcomes)
    expect(partials.every(outcome => 'partial' in outcome)).toBe(true)
    const sum = partials.reduce((total, outcome) => total + ('partial' in outcome ? Number(outcome.partial) : NaN), 0)
    expect(sum).toBe(Array.from({ length: 5000 }, (_, i) => i * i).reduce((a, b) => a + b))
    expect(partials.length).toBeLessThan(200)
  })

  it('takes nothing that a task posts to its parent for a message of its threads', async () => {
    const messages = [null, 'text', { type: 'log', line: 'no level' }, { type: 'drained' }, { type: 'failed' }]
    expect(await lab.values(await lab.submit('posts', messages))).toEqual(messages.map(() => 'posted'))
    expect(await lab.values(await lab.submit('square', 10))).toHaveLength(10)
  })

  it('logs a rejection that nobody handles, and goes on', async () => {
    expect(await lab.values(await lab.submit('rejectsAside', [0, 1, 2]))).toEqual([0, 1, 2])
    await until(() => lab.workers[0]!.stderr.some(line => line.includes('nobody cares')), {
      what: 'the rejection is in the log',
    })
  })

  it('lets other threads have the tail of a chunk that turns out slow', async () => {
    // The pace says that all of it is 12 µs of work, so that one claim takes everything.
    const workers = await lab.values(
      await lab.submit(
        'spins',
        Array.from({ length: 12 }, () => 100),
        { pace: 1000 },
      ),
    )
    expect(new Set(workers).size).toBe(2)
  })

  it('hands back the tail of such a chunk while the slow task still runs', async () => {
    const job = await lab.submit('spins', [4000, ...Array.from({ length: 11 }, () => 5)], { pace: 1000 })
    await until(async () => (await lab.store.parts.readCounters(job.job))?.settled === 11, {
      what: 'all but the slow task are settled',
      timeoutMs: 2000,
    })
    await lab.values(job)
  })

  it('does not keep what has no room beside the tasks in progress', async () => {
    const long = await lab.submit('waits', [120_000])
    const busy = await lab.submit('spins', [2000])
    const claims = async () => (await lab.client.keys(`*${lab.namespace}*:claim:*`)).length
    await until(async () => (await claims()) === 2, { what: 'both threads have a task' })
    // Only the thread whose task waits looks for more now, and can't run this beside it.
    const job = await lab.submit('square', [1, 2, 3])
    expect(await lab.values(job)).toEqual([1, 4, 9])
    await lab.values(busy)
    expect((await lab.store.parts.readCounters(long.job))?.settled).toBe(0)
    await lab.store.parts.drop({ ...long, hash: lab.workers[0]!.hash, collector: '' })
    await lab.store.publishControl({ type: 'cancel', job: long.job, incarnation: long.incarnation, index: undefined })
  })

  it('leaves no claim behind that holds something', async () => {
    await until(async () => (await lab.client.keys(`*${lab.namespace}*:claim:*`)).length === 0, {
      what: 'no claim holds anything',
    })
  })
})
