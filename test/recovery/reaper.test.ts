import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { decodeOutcome } from '../../src/protocol/outcome.ts'
import { Reaper } from '../../src/recovery/reaper.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()
const leaseMs = 6000

function reaperOf(lane: TestLane, lines: string[] = []): Reaper {
  const log = { info: () => undefined, warn: (line: string) => lines.push(line) }
  return new Reaper(lane, { leaseMs, maxDeaths: 3, log })
}

/** One run, as if the reaper had run all the time. */
async function reap(lane: TestLane, reaper: Reaper) {
  await lane.pretendReaping(leaseMs)
  return reaper.runOnce()
}

async function silence(lane: TestLane, worker: string): Promise<void> {
  await lane.client.zadd(lane.keys.workers, 1, worker)
}

describe('runOnce', () => {
  test('returns the chunks of a dead worker, of all its claims and jobs', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'], { info: { host: 'box', pid: 7 } })
    const [one, two] = [await lane.job(2), await lane.job(2, { priority: 1 })]
    for (const claim of ['a', 'b', 'a', 'b']) await lane.take('w', claim)
    await silence(lane, 'w')
    const lines: string[] = []
    expect(await reap(lane, reaperOf(lane, lines))).toEqual({ dead: ['w'], returned: 4, quarantined: 0, buried: 0 })
    for (const job of [one, two]) {
      expect((await lane.waitingChunks(job)).map(({ deaths }) => deaths)).toEqual([1, 1])
      expect((await lane.record(job)).waiting).toBe(2)
    }
    expect(lines).toEqual(['Worker box:7 is gone: 4 of its chunks will run elsewhere.'])
  })

  test('leaves living workers alone', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.job(1)
    await lane.take('w', 'a')
    expect(await reap(lane, reaperOf(lane))).toEqual({ dead: [], returned: 0, quarantined: 0, buried: 0 })
    expect(await lane.held('a')).toHaveLength(1)
  })

  test('empties a claim of chunks whose job is gone, and of what is no chunk', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(3)
    for (let i = 0; i < 3; i++) await lane.take('w', 'a')
    await lane.client.rpush(lane.claimKey('a'), 'rubbish', chunkOf({ ...job, job: 'elsewhere' }, { first: 0 }))
    await lane.parts.drop(job)
    await silence(lane, 'w')
    expect(await reap(lane, reaperOf(lane))).toMatchObject({ returned: 0 })
    expect(await lane.client.exists(lane.claimKey('a'))).toBe(0)
    expect(await lane.client.llen(lane.keys.malformed)).toBe(1)
    expect(await lane.client.exists(lane.keysOf(job.job).part, lane.keysOf('elsewhere').part)).toBe(0)
  })

  test('empties a claim of far more chunks than one call returns', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(1)
    const chunks = Array.from({ length: 700 }, (_, first) => chunkOf(job, { first: first + 1 }))
    await lane.client.lpush(lane.claimKey('a'), ...chunks)
    await silence(lane, 'w')
    expect(await reap(lane, reaperOf(lane))).toMatchObject({ returned: 700 })
    expect(await lane.held('a')).toEqual([])
  })

  test('does not charge a suspect that had company, whichever job is returned first', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const [one, two] = [await lane.job(1), await lane.job(1)]
    await lane.client.del(lane.keysOf(one.job).chunks, lane.keysOf(two.job).chunks)
    // Neither is alone. Were the clean one taken out first, the other would look alone.
    await lane.client.lpush(lane.claimKey('a'), chunkOf(one, { first: 0 }), chunkOf(two, { first: 0, deaths: 2 }))
    await silence(lane, 'w')
    await reap(lane, reaperOf(lane))
    expect((await lane.waitingChunks(two)).map(({ deaths }) => deaths)).toEqual([2])
  })

  test('quarantines after three certain deaths, with a failure that the driver can read', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'], { info: { host: 'box', pid: 7 } })
    const job = await lane.job(1)
    await lane.client.del(lane.keysOf(job.job).chunks)
    await lane.client.lpush(lane.claimKey('a'), chunkOf(job, { first: 0, deaths: 3, attempt: 2 }))
    await silence(lane, 'w')
    expect(await reap(lane, reaperOf(lane))).toMatchObject({ returned: 0, quarantined: 1 })
    const value = await lane.client.hgetBuffer(lane.keysOf(job.job).results, '0')
    const outcome = decodeOutcome(value?.subarray('1 failure\n'.length) ?? Buffer.alloc(0))
    expect(outcome).toMatchObject({ code: 'TASK_QUARANTINED', attempt: 2, worker: 'box:7' })
    expect(outcome.evidence?.join(' ')).toMatch(/died 3 times.*box:7/)
    const entry = (await lane.client.hget(lane.keys.quarantine, `${job.job}:0`)) ?? ''
    expect(JSON.parse(entry.split('\n')[0] ?? '')).toMatchObject({ worker: 'box:7' })
  })
})

describe('death in two steps', () => {
  test('a chunk that a blocked BLMOVE puts into a dead worker’s claim is returned before the burial', async () => {
    const lane = redis.lane()
    const reaper = reaperOf(lane)
    await lane.join('w', ['a'])
    await lane.take('w', 'a', { waitMs: 60_000 })
    const frozen = lane.over(redis.open()).claims.blockingClaim('a', 'c0de', 5000)
    await until(async () => (await lane.client.info('clients')).includes('blocked_clients:1'), {
      what: 'the thread blocks',
    })
    await silence(lane, 'w')
    expect(await reap(lane, reaper)).toEqual({ dead: ['w'], returned: 0, quarantined: 0, buried: 0 })

    // The frozen thread still counts as waiting: work is handed to it, and Redis moves it into its claim.
    const job = await lane.job(1)
    expect(await frozen).not.toBeNull()
    expect(spans(await lane.held('a'))).toEqual(['0+1'])
    await lane.client.zadd(lane.keys.dead, 1, 'w')
    expect(await reap(lane, reaper)).toEqual({ dead: ['w'], returned: 1, quarantined: 0, buried: 1 })
    // In line, or on the stage for the thread that still counts as waiting: in any case within reach of the living.
    expect(spans([...(await lane.staged()), ...(await lane.waitingChunks(job))])).toEqual(['0+1'])
    expect(await lane.client.exists(lane.workerKeys('w').worker, lane.workerKeys('w').claims)).toBe(0)
  })

  test('buries nobody before a lease is over', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await silence(lane, 'w')
    const reaper = reaperOf(lane)
    expect(await reap(lane, reaper)).toMatchObject({ dead: ['w'], buried: 0 })
    expect(await reap(lane, reaper)).toMatchObject({ dead: ['w'], buried: 0 })
    expect(await lane.client.exists(lane.workerKeys('w').claims)).toBe(1)
  })
})

describe('the loop', () => {
  test('several reapers together return a silent worker’s chunks in time, and bury it', async () => {
    const lane = redis.lane()
    const job = await lane.job(3)
    const short = 600
    const reapers = [0, 1, 2].map(() => new Reaper(lane, { leaseMs: short, maxDeaths: 3, log: silentLog }))
    await lane.join('w', ['a'], { leaseMs: short })
    for (let i = 0; i < 3; i++) await lane.take('w', 'a')
    for (const reaper of reapers) reaper.start()
    await until(async () => (await lane.record(job)).waiting === 3, { what: 'the chunks are back' })
    await until(async () => (await lane.client.exists(lane.workerKeys('w').worker, lane.keys.dead)) === 0, {
      what: 'the worker is buried',
    })
    for (const reaper of reapers) await reaper.stop()
    expect((await lane.waitingChunks(job)).map(({ deaths }) => deaths)).toEqual([1, 1, 1])
  })

  test('stays quiet once it is stopped, and goes on after an error', async () => {
    const lane = redis.lane()
    const lines: string[] = []
    const log = { info: () => undefined, warn: (line: string) => lines.push(line) }
    const reaper = new Reaper(lane, { leaseMs: 600, maxDeaths: 3, intervalMs: 20, log })
    await reaper.stop()
    const other = new Reaper(lane, { leaseMs: 600, maxDeaths: 3, intervalMs: 20, log })
    await lane.client.set(lane.keys.lane, 'no Hash')
    other.start()
    await until(() => lines.length > 0, { what: 'it complains' })
    expect(lines[0]).toMatch(/^The reaper could not run and will try again: WRONGTYPE/)
    await lane.client.del(lane.keys.lane)
    await until(async () => (await lane.client.hexists(lane.keys.lane, 'reapedAt')) === 1, { what: 'it runs again' })
    await other.stop()
    await other.stop()
    await lane.client.del(lane.keys.lane)
    await sleep(60)
    expect(await lane.client.exists(lane.keys.lane)).toBe(0)
  })
})
