import { expect, onTestFinished, test, vi } from 'vitest'
import { endedPart } from '../../src/driver/drop-part.ts'
import { Dropper } from '../../src/driver/dropper.ts'
import { Part } from '../../src/driver/part.ts'
import { connect, JobNotFoundError } from '../../src/index.ts'
import { partKeys } from '../../src/protocol/keys.ts'
import { encodeBatch } from '../../src/protocol/values.ts'
import { driverLeaseMs, plainFields, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()

/** A job of another driver, whose two tasks are settled. */
async function settledJob(lane: TestLane): Promise<TestJob> {
  const part = await lane.job(2)
  await lane.join('w', ['a'])
  for (const first of [0, 1]) {
    await lane.take('w', 'a')
    const run = { first, count: 1, kind: 'values' as const, bytes: encodeBatch([first]) }
    const settled = { chunks: [{ first, attempt: 1, done: 1 }], runs: [run], retries: [], paceNs: 0 }
    expect((await lane.claims.settle(part, 'a', settled)).word).toBe('committed')
  }
  return part
}

/** What Redis has of the job now; the returned function has it go back to that, and cuts all connections. */
async function remember(lane: TestLane, { job }: TestJob): Promise<(then?: () => Promise<unknown>) => Promise<void>> {
  const { part, results } = partKeys(lane.lane, job)
  const dumps = await Promise.all([part, results].map(key => lane.client.dumpBuffer(key)))
  return async then => {
    for (const [i, key] of [part, results].entries()) await lane.client.restore(key, 0, dumps[i]!, 'REPLACE')
    await lane.client.zadd(lane.keys.jobs, 1, job)
    await then?.()
    await lane.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  }
}

async function begin() {
  const lane = redis.lane()
  const part = await settledJob(lane)
  const mill = await connect({ redis: redis.process.url, namespace: lane.lane.namespace })
  const isGone = async () =>
    (await lane.client.zscore(lane.keys.jobs, part.job)) === null && (await lane.results(part))[0] === undefined
  return { lane, part, mill, isGone }
}

test.each(['after', 'before'] as const)(
  'a job that is there again because Redis went back to %s its driver attached is dropped again',
  async when => {
    const { lane, part, mill, isGone } = await begin()
    let goBack = when === 'before' ? await remember(lane, part) : undefined
    const job = await mill.attach(part.job)
    goBack ??= await remember(lane, part)
    expect(await job.results()).toEqual([0, 1])
    await until(isGone, { what: 'the job is dropped' })
    await goBack()
    await until(isGone, { what: 'it is dropped again' })
    await mill.close()
  },
)

test('so is one that is there as it was before the driver began it anew', async () => {
  const lane = redis.lane()
  const { job, incarnation, collector, hash } = await settledJob(lane)
  const driver = new Part(job, collector, { ...plainFields, hash }, { incarnation })
  const goBack = await remember(lane, { job, incarnation, collector, hash })
  driver.renew()
  const dropper = new Dropper({ drives: () => false, onError: () => undefined })
  expect(await dropper.drop(endedPart(lane, driver, { running: false }))).toBe('dropped')
  await goBack()
  dropper.dropAgain()
  await until(async () => !(await lane.parts.hasPart(job)), { what: 'it is dropped again' })
  // Another's under this id is nobody's former incarnation.
  await lane.job(1, { id: job })
  dropper.dropAgain()
  await dropper.flush()
  expect(await lane.parts.hasPart(job)).toBe(true)
  dropper.stop()
})

test('one that was cancelled is, too', async () => {
  const { lane, part, mill, isGone } = await begin()
  const job = await mill.attach(part.job)
  const goBack = await remember(lane, part)
  await job.cancel()
  await goBack()
  await until(isGone, { what: 'it is dropped again' })
  await mill.close()
})

test('one that another driver has by then is not', async () => {
  const { lane, part, mill, isGone } = await begin()
  const goBack = await remember(lane, part)
  const job = await mill.attach(part.job)
  expect(await job.results()).toEqual([0, 1])
  await until(isGone, { what: 'the job is dropped' })
  await goBack(() => lane.parts.attach(part.job, 'other', driverLeaseMs, part.hash))
  // It has its connection back, and with `close` has done what was due.
  await expect(mill.attach('nowhere')).rejects.toBeInstanceOf(JobNotFoundError)
  await mill.close()
  expect(await lane.record(part)).toMatchObject({ collector: 'other', settled: 2 })
  expect(Object.keys(await lane.results(part))).toEqual(['0', '1'])
})

test('one that is stopped while Redis is away leaves nothing that goes on', async () => {
  const lane = redis.lane()
  const { job, incarnation, collector } = await settledJob(lane)
  lane.client.disconnect()
  vi.useFakeTimers()
  onTestFinished(() => {
    vi.useRealTimers()
  })
  const dropper = new Dropper({ drives: () => false, onError: () => undefined })
  dropper.dropSoon(endedPart(lane, new Part(job, collector, plainFields, { incarnation }), { running: false }))
  expect(vi.getTimerCount()).toBe(1)
  dropper.stop()
  await dropper.flush()
  expect(vi.getTimerCount()).toBe(0)
})
