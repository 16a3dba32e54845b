import { describe, expect, test } from 'vitest'
import { Promoter } from '../../src/recovery/promoter.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { redisNowMs } from '../../src/store/inspect/census.ts'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()

async function delay(lane: TestLane, job: TestJob, first: number, dueMs: number): Promise<void> {
  await lane.client.zadd(lane.keysOf(job.job).delayed, dueMs, chunkOf(job, { first, attempt: 2 }))
  await lane.client.zadd(lane.keys.due, 'LT', dueMs, job.job)
}

describe('runOnce', () => {
  test('puts due retries of all jobs back in line, and no others', async () => {
    const lane = redis.lane()
    const [one, two] = [await lane.job(1), await lane.job(1)]
    const now = await redisNowMs(lane)
    await delay(lane, one, 5, now - 10)
    await delay(lane, one, 6, now + 60_000)
    await delay(lane, two, 7, now - 5)
    const promoter = new Promoter(lane, { log: silentLog })
    expect(await promoter.runOnce()).toBe(2)
    expect(spans(await lane.waitingChunks(one))).toEqual(['5+1', '0+1'])
    expect(spans(await lane.waitingChunks(two))).toEqual(['7+1', '0+1'])
    expect(await lane.client.zrange(lane.keys.due, 0, '-1')).toEqual([one.job])
    expect(await promoter.runOnce()).toBe(0)
  })

  test('moves more retries than one call does', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    for (let first = 1; first <= 300; first++) await delay(lane, job, first, 1)
    expect(await new Promoter(lane, { log: silentLog }).runOnce()).toBe(300)
    expect((await lane.record(job)).waiting).toBe(301)
  })

  test('forgets retries of a job that is gone', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await delay(lane, job, 5, 1)
    await lane.client.del(lane.keysOf(job.job).part)
    expect(await new Promoter(lane, { log: silentLog }).runOnce()).toBe(0)
    expect(await lane.client.exists(lane.keys.due, lane.keysOf(job.job).delayed, lane.keysOf(job.job).part)).toBe(0)
  })
})

describe('the loop', () => {
  test('comes back when the next retry is due, not only after its interval', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await delay(lane, job, 5, (await redisNowMs(lane)) + 150)
    const promoter = new Promoter(lane, { log: silentLog, intervalMs: 60_000 })
    promoter.start()
    await until(async () => (await lane.record(job)).waiting === 2, { what: 'the retry is in line', timeoutMs: 5000 })
    await promoter.stop()
  })
})
