import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { laneKeys } from '../../src/protocol/keys.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis } from './support/lab.ts'
import type { LabJob, LabOutcome } from './support/lab.ts'
import { linesOf, recordFile } from './support/record-file.ts'

let redis: RedisProcess
let lab: Lab

beforeAll(async () => {
  redis = await startLabRedis()
  lab = new Lab(redis)
  await lab.startWorker({ threads: 2, heapMb: 64 })
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

const valuesOf = (outcomes: readonly LabOutcome[]) =>
  outcomes.flatMap(outcome => ('value' in outcome ? [outcome.value] : []))

async function untilRunning(task: string) {
  await until(async () => (await claimed(lab)).some(line => line.includes(` ${task}\n`)), {
    what: `a thread holds a chunk of ${task}`,
  })
}

async function claimed({ client, namespace }: Lab): Promise<string[]> {
  const keys = await client.keys(`*${namespace}*:claim:*`)
  return (await Promise.all(keys.map(key => client.lrange(key, 0, -1)))).flat()
}

async function cancel(job: LabJob, index?: number) {
  await lab.store.publishControl({ type: 'cancel', job: job.job, incarnation: job.incarnation, index })
}

describe('a time limit', () => {
  it('ends the thread of a task that never yields at most a second late, and its neighbours commit', async () => {
    const started = performance.now()
    const outcomes = await lab.outcomes(await lab.submit('limited', [1, 2, 60_000, 3, 4], { pace: 1000 }))
    expect(failureOf(outcomes[2])).toMatchObject({
      code: 'TASK_TIMEOUT',
      attempt: 1,
      error: { name: 'TaskTimeoutError' },
    })
    expect(valuesOf(outcomes)).toEqual([1, 2, 3, 4])
    // 1.5 s, a second at most, and the start of a thread, on a machine that may be slow; it would take a minute.
    expect(performance.now() - started).toBeLessThan(30_000)
  })

  it('aborts the signal of an asynchronous task, and settles it without waiting for it', async () => {
    const started = performance.now()
    const outcomes = await lab.outcomes(await lab.submit('late', [60_000, 1, 2, 3], { packs: 4 }))
    expect(failureOf(outcomes[0]).code).toBe('TASK_TIMEOUT')
    expect(valuesOf(outcomes)).toEqual([1, 2, 3])
    expect(performance.now() - started).toBeLessThan(30_000)
    await until(() => lab.workers[0]!.stderr.some(line => line.includes('aborted TASK_TIMEOUT')), {
      what: 'the task has seen its abort',
    })
  })

  it('ends a thread whose loop has stopped in an asynchronous task', async () => {
    const outcomes = await lab.outcomes(await lab.submit('stalls', [1, 60_000, 2, 3], { packs: 4 }))
    expect(failureOf(outcomes[1]).code).toBe('TASK_TIMEOUT')
    expect(valuesOf(outcomes)).toEqual([1, 2, 3])
  })
})

describe('a task that takes its thread down', () => {
  it('is quarantined with its evidence when it exits each time, and its neighbours are not charged', async () => {
    const outcomes = await lab.outcomes(await lab.submit('exits', 200, { pace: 1000 }))
    const failure = failureOf(outcomes[5])
    expect(failure.code).toBe('TASK_QUARANTINED')
    expect(failure.attempt).toBe(1)
    expect(failure.evidence?.join('\n')).toMatch(/exit code 7[^]*log: exits .*\/5: about to exit/)
    expect(valuesOf(outcomes)).toEqual(Array.from({ length: 200 }, (_, i) => i).filter(i => i !== 5))
    // Noted in a step of its own, right after the commit.
    const kept = await until(
      async () => {
        const entries = await lab.client.hgetall(laneKeys(lab.store.lane).quarantine)
        return Object.keys(entries).length > 0 && entries
      },
      { what: 'the evidence is kept' },
    )
    expect(Object.keys(kept).some(field => field.endsWith(':5'))).toBe(true)
    expect(Object.keys(kept)).toHaveLength(1)
  })

  it('is quarantined when it throws in a callback', async () => {
    const outcomes = await lab.outcomes(await lab.submit('throwsLater', [1, 2, 3]))
    expect(failureOf(outcomes[1])).toMatchObject({ code: 'TASK_QUARANTINED' })
    expect(failureOf(outcomes[1]).evidence?.[0]).toContain('thrown in a callback')
    expect(valuesOf(outcomes)).toEqual([1, 3])
  })

  it('is quarantined when it fills its heap, and the process lives', async () => {
    const outcomes = await lab.outcomes(await lab.submit('eats', [0, 1, 2], { pace: 1000 }))
    expect(failureOf(outcomes[1])).toMatchObject({ code: 'TASK_QUARANTINED' })
    expect(valuesOf(outcomes)).toEqual([0, 2])
  })

  it('is quarantined when its input does not fit into the heap, and its neighbours are not', async () => {
    const large = Array.from({ length: 1_500_000 }, () => [])
    const outcomes = await lab.outcomes(await lab.submit('echo', [0, 1, large, 3], { packs: 4 }))
    expect(failureOf(outcomes[2])).toMatchObject({ code: 'TASK_QUARANTINED' })
    expect(valuesOf(outcomes)).toEqual([0, 1, 3])
  })
})

describe('a reducer', () => {
  it('that takes its thread down on a worker is not run there for what it does not survive', async () => {
    const outcomes = await lab.outcomes(await lab.submit('square', 40, { reducer: 'addUnless', pace: 1000 }))
    const partials = outcomes.filter(outcome => 'partial' in outcome)
    expect(partials.reduce((sum, { partial }) => sum + Number(partial), 0)).toBe(20_540)
    expect(partials.length).toBeGreaterThan(1)
  })

  it('that does not end is ended with its job', async () => {
    const job = await lab.submit('square', 40, { reducer: 'addForever', pace: 1000 })
    await untilRunning('square')
    await lab.store.parts.drop({ ...job, hash: lab.workers[0]!.hash, collector: '' })
    await until(
      async () => {
        // It may have been heard before the reducer ran.
        await cancel(job)
        return (await claimed(lab)).length === 0
      },
      { what: 'nothing is claimed any more' },
    )
  })
})

it('what a task computes before it waits counts against its time limit', async () => {
  const started = performance.now()
  const outcomes = await lab.outcomes(await lab.submit('computesFirst', [2000]))
  expect(failureOf(outcomes[0])).toMatchObject({ code: 'TASK_TIMEOUT' })
  expect(performance.now() - started).toBeGreaterThan(2500)
})

it('a thread whose loop is kept by what a settled task left is replaced, and what it was given runs elsewhere', async () => {
  const file = await recordFile()
  const input = { file, ms: 180_000 }
  const outcomes = await lab.outcomes(await lab.submit('lingers', [input, input], { packs: 2 }))
  expect(outcomes.map(outcome => failureOf(outcome).code)).toEqual(['TASK_TIMEOUT', 'TASK_TIMEOUT'])
  // From then on both threads look as if they waited.
  await until(async () => (await linesOf(file)).length === 2, { what: 'both compute on' })
  const job = await lab.submit('spins', [1, 1, 1, 1], { packs: 4 })
  expect(await lab.values(job, 110_000)).toHaveLength(4)
})

describe('a cancellation', () => {
  it('ends a task that never yields within a second, and the job is not run again', async () => {
    const job = await lab.submit('spins', [60_000])
    await untilRunning('spins')
    await lab.store.parts.drop({ ...job, hash: lab.workers[0]!.hash, collector: '' })
    const started = performance.now()
    await cancel(job)
    await until(async () => (await claimed(lab)).length === 0, { what: 'nothing is claimed any more' })
    expect(performance.now() - started).toBeLessThan(30_000)
  })

  it('aborts a waiting task at once and frees its thread', async () => {
    const job = await lab.submit('waits', [60_000])
    await untilRunning('waits')
    await lab.store.parts.drop({ ...job, hash: lab.workers[0]!.hash, collector: '' })
    await cancel(job)
    await until(async () => (await claimed(lab)).length === 0, {
      what: 'nothing is claimed any more',
      timeoutMs: 30_000,
    })
  })

  it.each(['spins', 'waits'])('whose message was missed is found out, and frees the thread of %s', async task => {
    const job = await lab.submit(task, [600_000])
    await untilRunning(task)
    await lab.store.parts.drop({ ...job, hash: lab.workers[0]!.hash, collector: '' })
    await until(async () => (await claimed(lab)).length === 0, {
      what: 'nothing is claimed any more',
      timeoutMs: 40_000,
    })
  })

  it('of one task settles it as cancelled and leaves the others', async () => {
    const job = await lab.submit('waits', [300, 60_000, 300], { packs: 3 })
    await until(async () => (await claimed(lab)).length === 3, { what: 'all three tasks run' })
    await cancel(job, 1)
    const outcomes = await lab.outcomes(job)
    expect(failureOf(outcomes[1]).code).toBe('TASK_CANCELLED')
    expect(valuesOf(outcomes)).toHaveLength(2)
  })

  it('of one task that never yields ends its thread, and its neighbours run', async () => {
    const job = await lab.submit('spins', [1, 60_000, 1], { pace: 1000 })
    await untilRunning('spins')
    await cancel(job, 1)
    const outcomes = await lab.outcomes(job)
    expect(failureOf(outcomes[1]).code).toBe('TASK_CANCELLED')
    expect(valuesOf(outcomes)).toHaveLength(2)
  })
})

it('a thread that takes long to end is gone without, and replaced when it has', async () => {
  const worker = lab.workers[0]!
  const warned = worker.stderr.length
  const outcomes = await lab.outcomes(await lab.submit('stuckForAWhile', [1]))
  expect(failureOf(outcomes[0])).toMatchObject({ code: 'TASK_TIMEOUT' })
  await until(
    async () => new Set(await lab.values(await lab.submit('spins', [50, 50, 50, 50], { packs: 4 }))).size === 2,
    {
      what: 'both threads run tasks',
    },
  )
  // Once, and without the worker's end.
  expect(worker.stderr.slice(warned).filter(line => line.includes('over its time limit'))).toHaveLength(1)
})

it('a thread that can not be ended makes the worker hand back everything and say that its process must end', async () => {
  await using other = new Lab(redis)
  const worker = await other.startWorker({ threads: 2 })
  const outcomes = await other.outcomes(await other.submit('stuck', [1]))
  expect(failureOf(outcomes[0])).toMatchObject({ code: 'TASK_TIMEOUT' })
  await worker.waitForLine(/^failed WORKER_ENDED .*native code/)
  expect(await other.workerKeys()).toEqual([])
})

it('still runs tasks on all threads after all that', async () => {
  const workers = await lab.values(
    await lab.submit(
      'spins',
      Array.from({ length: 40 }, () => 50),
    ),
  )
  expect(new Set(workers).size).toBe(2)
})
